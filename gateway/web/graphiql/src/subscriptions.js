// Subscriptions over server-sent events, which take the headers that the page's operations have. A browser's WebSocket
// cannot send any.
import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-sse';

import { beginTimeline, takeTimeline } from './timeline.jsx';

// The text is read here, because GraphiQL's own document is older than a text that was typed just now.
function isSubscription({ query, operationName }) {
  try {
    return getOperationAST(parse(query), operationName)?.operation === 'subscription';
  } catch {
    return false; // the gateway says what is wrong
  }
}

async function* withoutTimelines(results) {
  beginTimeline();
  for await (const result of results) yield takeTimeline(result);
}

/** Wrap a fetcher, which is asked for all other operations. */
export function subscribing(fetcher, explain) {
  return (operation, options) => {
    if (!isSubscription(operation)) return fetcher(operation, options);
    const headers = { ...options?.headers, ...(explain && { 'Gateway-Explain': '1' }) };
    const results = createClient({ url: location.pathname, headers }).iterate(operation);
    return explain ? withoutTimelines(results) : results;
  };
}
