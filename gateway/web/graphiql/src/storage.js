// What GraphiQL keeps in the browser: its own storage but for the headers in the history, which hold credentials.
// GraphiQL asks before it keeps a tab's headers, and keeps those of the history unasked.

const PERSIST_HEADERS = 'graphiql:shouldPersistHeaders';
const HISTORIES = ['graphiql:queries', 'graphiql:favorites'];

function mayKeepHeaders() {
  return localStorage.getItem(PERSIST_HEADERS) === 'true';
}

function withoutHeaders(text) {
  return JSON.stringify(JSON.parse(text), (key, value) => (key === 'headers' ? undefined : value));
}

function forgetHeaders() {
  for (const key of HISTORIES) {
    const kept = localStorage.getItem(key);
    if (kept) localStorage.setItem(key, withoutHeaders(kept));
  }
}

function setItem(key, value) {
  localStorage.setItem(key, HISTORIES.includes(key) && !mayKeepHeaders() ? withoutHeaders(value) : value);
  if (key === PERSIST_HEADERS && !mayKeepHeaders()) forgetHeaders();
}

function ownKeys() {
  return Object.keys(localStorage).filter((key) => key.startsWith('graphiql:'));
}

/** The storage. Headers are kept only if the user asks for it in GraphiQL's settings. */
export function openStorage() {
  if (localStorage.getItem(PERSIST_HEADERS) === null) setItem(PERSIST_HEADERS, 'false');
  return {
    getItem: (key) => localStorage.getItem(key),
    setItem,
    removeItem: (key) => localStorage.removeItem(key),
    clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return ownKeys().length;
    },
  };
}
