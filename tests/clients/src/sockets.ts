// Clients over a WebSocket, with the subprotocol graphql-transport-ws.
import { Client as UrqlClient, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";
import type { Client as SocketClient } from "graphql-ws";
import WebSocket from "ws";

/** Connects to the gateway at an HTTP address; `payload` has the credentials. */
export function socketClient(url: string, payload: Record<string, unknown>): SocketClient {
  return createClient({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: payload,
    retryWait: () => Promise.resolve(),
  });
}

/** urql with all of its operations over the socket. */
export function urqlOverSocket(url: string, client: SocketClient): UrqlClient {
  return new UrqlClient({
    url,
    exchanges: [
      subscriptionExchange({
        enableAllOperations: true,
        forwardSubscription: ({ query = "", variables = {} }) => ({
          subscribe: (sink) => ({
            unsubscribe: client.subscribe(
              { query, variables: variables as Record<string, unknown> },
              sink as unknown as Parameters<SocketClient["subscribe"]>[1],
            ),
          }),
        }),
      }),
    ],
  });
}
