// Subscriptions over server-sent events, which take the headers that the page's operations have. A browser's WebSocket
// cannot send any.
import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-sse';

// The text is read here, because GraphiQL's own document is older than a text that was typed just now.
function isSubscription({ query, operationName }) {
  try {
    return getOperationAST(parse(query), operationName)?.operation === 'subscription';
  } catch {
    return false; // the gateway says what is wrong
  }
}

/** Wrap a fetcher, which is asked for all other operations. */
export function subscribing(fetcher) {
  return (operation, options) => {
    if (!isSubscription(operation)) return fetcher(operation, options);
    const client = createClient({ url: location.pathname, headers: options?.headers ?? {} });
    return client.iterate(operation);
  };
}
