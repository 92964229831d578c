// The REST calls of the last operation, as `extensions.upstream` lists them (GATEWAY_EXPLAIN), beside what was predicted.
import { predict } from './prediction.js';
import { createStore } from './store.js';

/** The last operation: its text, its calls and its prediction. Null before the first report, and while one runs. */
export const lastRun = createStore(null);

/** The headers of the last operation: a prediction is asked for with these, never with half of a token. */
export const lastHeaders = createStore(null);

/** Keep the calls that a result lists, and return the result as a client that did not ask for them would see it. */
function take(operation, result) {
  if (Array.isArray(result)) return result.map((each) => take(operation, each));
  const { upstream, moreCalls, ...others } = result?.extensions ?? {};
  if (!upstream) return result;
  const run = { operation, calls: upstream, moreCalls, prediction: null };
  lastRun.set(run);
  predict(operation, lastHeaders.get()).then((prediction) => {
    if (lastRun.get() === run) lastRun.set({ ...run, prediction });
  });
  const { extensions, ...rest } = result;
  return Object.keys(others).length ? { ...rest, extensions: others } : rest;
}

async function* takeEach(operation, results) {
  for await (const result of results) yield take(operation, result);
}

/** Wrap a fetcher so that it asks for the calls of every operation but GraphiQL's own. */
export function explaining(fetcher) {
  return async (operation, options) => {
    if (operation.operationName === 'IntrospectionQuery') return fetcher(operation, options);
    lastRun.set(null);
    lastHeaders.set(options?.headers ?? {});
    const result = await fetcher(operation, { ...options, headers: { ...options?.headers, 'Gateway-Explain': '1' } });
    return Symbol.asyncIterator in Object(result) ? takeEach(operation, result) : take(operation, result);
  };
}
