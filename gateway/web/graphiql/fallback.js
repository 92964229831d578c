// The page where GraphiQL's assets were not built: an older GraphiQL from a CDN, without the explorer and the panels.
// Where the CDN is not reached, a small page of our own runs operations. Both get subscriptions as server-sent events.
'use strict';

const { nonce } = document.querySelector('meta[property=csp-nonce]');
const createElement = Document.prototype.createElement;

// The same as src/nonce.js, which says why.
Document.prototype.createElement = function (name, ...options) {
  const element = createElement.call(this, name, ...options);
  if (String(name).toLowerCase() === 'style') element.nonce = nonce;
  return element;
};

/** Read the results of a subscription (HTML Standard, section 9.2.6; the gateway ends each line with a line feed). */
async function* resultsOf(body) {
  let text = '';
  for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split('\n\n');
    text = events.pop();
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event);
      if (data && /^event: next$/m.test(event)) yield JSON.parse(data[1]);
    }
  }
}

/** Iterate over results; to leave the loop ends the request at once, also while it waits for the next result. */
function endable(results, controller) {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () =>
      results.next().catch((error) => {
        if (controller.signal.aborted) return { done: true };
        throw error;
      }),
    return: async () => {
      controller.abort();
      return { done: true };
    },
  };
}

/** Return a fetcher, as GraphiQL calls it: the result of an operation, or for a subscription its results. */
function fetcherWith(always) {
  return async (operation, options) => {
    const controller = new AbortController();
    const response = await fetch(location.pathname, {
      method: 'POST',
      headers: {
        accept: 'application/json, text/event-stream',
        'content-type': 'application/json',
        ...always,
        ...options?.headers,
      },
      body: JSON.stringify(operation),
      signal: controller.signal,
    });
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    return isStream ? endable(resultsOf(response.body), controller) : response.json();
  };
}

const PLAIN = `<main class="plain">
  <header>
    <h1>gochat-gateway</h1>
    <p role="alert">GraphiQL cannot be loaded: its files are not built, and the CDN is not reached, or what it sent is not
      what was expected. Where npm reaches a registry, build them with the command above, and load this page again. Or
      install a wheel, which contains them.</p>
    <p>Until then, this page runs operations without completion and documentation.</p>
  </header>
  <form>
    <label>Operation <textarea name="query" spellcheck="false" required></textarea></label>
    <label>Variables (JSON) <textarea name="variables" spellcheck="false"></textarea></label>
    <label>Headers (JSON) <textarea name="headers" spellcheck="false"></textarea></label>
    <div><button>Run</button> <button type="button" name="stop" disabled>Stop</button></div>
  </form>
  <pre aria-label="Result" aria-live="polite" tabindex="0"></pre>
</main>`;

/** Show the page that needs nothing but this file. */
function showPlain(root, { query, variables, headers }, fetcher) {
  root.innerHTML = PLAIN;
  const form = root.querySelector('form');
  const output = root.querySelector('pre');
  const { stop } = form.elements;
  Object.assign(form.elements.query, { value: query });
  Object.assign(form.elements.variables, { value: variables });
  Object.assign(form.elements.headers, { value: headers });
  const show = (result) => (output.textContent = JSON.stringify(result, null, 2));
  const read = (name) => (form.elements[name].value.trim() ? JSON.parse(form.elements[name].value) : undefined);
  let running;

  async function run() {
    running?.return();
    const operation = { query: form.elements.query.value, variables: read('variables') };
    const result = await fetcher(operation, { headers: read('headers') });
    if (!result[Symbol.asyncIterator]) return show(result);
    running = result;
    stop.disabled = false;
    try {
      for await (const each of result) show(each);
    } finally {
      if (running === result) stop.disabled = true;
    }
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    output.textContent = '…';
    run().catch((error) => (output.textContent = String(error)));
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener('click', () => running.return());
}

addEventListener('DOMContentLoaded', () => {
  const root = document.getElementById('graphiql');
  const { query, tabs, authorization, explain } = root.dataset;
  const fetcher = fetcherWith(explain === 'true' ? { 'Gateway-Explain': '1' } : {});
  const headers = authorization === 'true' ? '{\n  "Authorization": ""\n}' : undefined;
  const asked = new URLSearchParams(location.search);
  const shared = asked.has('query') ? [{ query: asked.get('query'), variables: asked.get('variables') ?? '' }] : [];
  const { React, ReactDOM, GraphiQL } = globalThis;
  if (!GraphiQL) {
    showPlain(root, { query, variables: '', headers: headers ?? '', ...shared[0] }, fetcher);
    return;
  }
  const properties = {
    defaultEditorToolsVisibility: headers && 'headers',
    defaultHeaders: headers,
    defaultQuery: query,
    defaultTabs: [...shared, { query }, ...JSON.parse(tabs)],
    fetcher,
    inputValueDeprecation: true,
    storage: null, // this GraphiQL would keep credentials with its history
  };
  ReactDOM.createRoot(root).render(React.createElement(GraphiQL, properties));
});
