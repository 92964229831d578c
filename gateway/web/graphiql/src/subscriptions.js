// Subscriptions over server-sent events, which take the headers that the page's operations have. A browser's WebSocket
// cannot send any.
import { getOperationAST } from 'graphql';
import { createClient } from 'graphql-sse';

function isSubscription(document, name) {
  return document !== undefined && getOperationAST(document, name)?.operation === 'subscription';
}

/** Wrap a fetcher, which is asked for all other operations. */
export function subscribing(fetcher) {
  return (operation, options) => {
    if (!isSubscription(options?.documentAST, operation.operationName)) return fetcher(operation, options);
    const client = createClient({ url: location.pathname, headers: options?.headers ?? {} });
    return client.iterate(operation);
  };
}
