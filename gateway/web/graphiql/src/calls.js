// The REST calls of the last operation, as `extensions.upstream` tells them (GATEWAY_EXPLAIN).
import { useSyncExternalStore } from 'react';

let calls = null;
const listeners = new Set();

function tell(reported) {
  calls = reported;
  for (const listener of listeners) listener();
}

function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The last operation's calls, or null before the first report. */
export function useCalls() {
  return useSyncExternalStore(subscribe, () => calls);
}

/** Keep the calls that a result tells of, and return the result as a client that did not ask for them would see it. */
function take(result) {
  if (Array.isArray(result)) return result.map(take);
  const { upstream, ...others } = result?.extensions ?? {};
  if (!upstream) return result;
  tell(upstream);
  const { extensions, ...rest } = result;
  return Object.keys(others).length ? { ...rest, extensions: others } : rest;
}

async function* takeEach(results) {
  for await (const result of results) yield take(result);
}

/** Wrap a fetcher so that it asks for the calls of every operation but GraphiQL's own. */
export function explaining(fetcher) {
  return async (operation, options) => {
    if (operation.operationName === 'IntrospectionQuery') return fetcher(operation, options);
    tell(null);
    const result = await fetcher(operation, { ...options, headers: { ...options?.headers, 'Gateway-Explain': '1' } });
    return Symbol.asyncIterator in Object(result) ? takeEach(result) : take(result);
  };
}
