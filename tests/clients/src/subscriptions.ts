// Prints what each client makes of subscriptions, as JSON. The arguments are the address of a gateway, that of one whose
// subscriptions soon end, the REST API's, and the `Authorization` header to call all of them with.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client/core";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client as UrqlClient, fetchExchange } from "@urql/core";
import { print } from "graphql";
import { createClient as createSseClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import type { Client as SocketClient } from "graphql-ws";
import WebSocket from "ws";
import { TagsDocument, ThreadDocument } from "./generated.js";
import type { TagsSubscription } from "./generated.js";
import { socketClient, urqlOverSocket } from "./sockets.js";

// urql aborts its request when the last subscriber is gone, and nobody waits for that.
process.on("unhandledRejection", (reason) => {
  if ((reason as Error).name !== "AbortError") throw reason;
});

const [url = "", shortLived = "", restApi = "", authorization = ""] = process.argv.slice(2);
const headers = { authorization };
const QUERY = print(TagsDocument);

type Tags = readonly string[] | null | undefined;
/** Subscribes, calls `next` with the tags of each result, and returns how to unsubscribe. */
type Subscribe = (id: string, next: (tags: Tags) => void, fail: (error: unknown) => void) => () => void;

async function tag(id: string, code: string): Promise<void> {
  const response = await fetch(`${restApi}/api/v1/thread/${id}`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ tag_codes: [code] }),
  });
  if (!response.ok) throw new Error(`the REST API answered ${response.status}`);
}

/** The states that a client shows: the thread is changed after the first of them, and the last has the change. */
function follow(subscribe: Subscribe, id: string): Promise<unknown> {
  const states: Tags[] = [];
  return new Promise((resolve, reject) => {
    const unsubscribe = subscribe(
      id,
      (tags) => {
        states.push(tags);
        if (states.length === 1) tag(id, "changed").catch(reject);
        if (tags?.includes("changed")) {
          unsubscribe();
          resolve({ first: states[0], last: tags });
        }
      },
      reject,
    );
  });
}

const credentials = { authorization };

function overSocket(client: SocketClient): Subscribe {
  return (id, next, fail) =>
    client.subscribe<TagsSubscription>(
      { query: QUERY, variables: { id } },
      { next: (result) => next(result.data?.threadUpdated?.tags), error: fail, complete: () => undefined },
    );
}

function overEvents(of: string): Subscribe {
  const client = createSseClient({ url: of, headers, retry: () => Promise.resolve() });
  return (id, next, fail) =>
    client.subscribe<TagsSubscription>(
      { query: QUERY, variables: { id } },
      { next: (result) => next(result.data?.threadUpdated?.tags), error: fail, complete: () => undefined },
    );
}

function withApollo(link: ApolloLink): Subscribe {
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  return (id, next, fail) => {
    const subscription = client.subscribe({ query: TagsDocument, variables: { id } }).subscribe((result) => {
      if (result.error) fail(result.error);
      else next(result.data?.threadUpdated?.tags);
    });
    return () => subscription.unsubscribe();
  };
}

function withUrql(client: UrqlClient): Subscribe {
  return (id, next, fail) => {
    const { unsubscribe } = client.subscription(TagsDocument, { id }).subscribe((result) => {
      if (result.error) fail(result.error);
      else next(result.data?.threadUpdated?.tags);
    });
    return unsubscribe;
  };
}

const CLIENTS: Record<string, Subscribe> = {
  "graphql-ws": overSocket(socketClient(url, credentials)),
  "graphql-sse": overEvents(url),
  "apollo over multipart": withApollo(new HttpLink({ uri: url, headers })),
  "apollo over websocket": withApollo(new GraphQLWsLink(socketClient(url, credentials))),
  "urql over sse": withUrql(
    new UrqlClient({ url, fetchOptions: { headers }, fetchSubscriptions: true, exchanges: [fetchExchange] }),
  ),
  "urql over websocket": withUrql(urqlOverSocket(url, socketClient(url, credentials))),
};

/** How often a client has to subscribe again by itself to see the change: its subscription ends again and again. */
async function comesBack(subscribe: Subscribe, id: string): Promise<unknown> {
  let results = 0;
  return new Promise((resolve, reject) => {
    const unsubscribe = subscribe(
      id,
      (tags) => {
        results += 1;
        if (results === 3) tag(id, "changed").catch(reject);
        if (tags?.includes("changed")) {
          unsubscribe();
          resolve({ results, last: tags });
        }
      },
      reject,
    );
  });
}

/** The result of a query over a socket, and how it shows an error. */
async function single(client: SocketClient): Promise<unknown> {
  const results: unknown[] = [];
  for await (const result of client.iterate({ query: print(ThreadDocument), variables: { id: "th-1" } })) {
    results.push((result.data as { thread?: { id?: string } } | null)?.thread?.id);
  }
  const refused = await new Promise((resolve) => {
    client.subscribe({ query: "{ nothing }" }, { next: resolve, error: resolve, complete: () => resolve("complete") });
  });
  return { results, refused };
}

/** The codes with which sockets are closed that have no credentials. */
async function unauthorized(): Promise<unknown> {
  const codes: unknown[] = [];
  const client = createSocketClient({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    retryAttempts: 1,
    retryWait: () => Promise.resolve(),
    on: { closed: (event) => codes.push((event as CloseEvent).code) },
  });
  await new Promise((resolve) => {
    client.subscribe({ query: QUERY }, { next: resolve, error: resolve, complete: () => resolve(null) });
  });
  return codes;
}

const socket = socketClient(url, credentials);
const names = Object.keys(CLIENTS);
const followed = await Promise.all(names.map((name, index) => follow(CLIENTS[name] as Subscribe, `th-${200 + index}`)));
const report = {
  followed: Object.fromEntries(names.map((name, index) => [name, followed[index]])),
  returned: {
    "graphql-ws": await comesBack(overSocket(socketClient(shortLived, credentials)), "th-300"),
    "graphql-sse": await comesBack(overEvents(shortLived), "th-301"),
  },
  single: await single(socket),
  unauthorized: await unauthorized(),
};
console.log(JSON.stringify(report));
process.exit(0); // clients keep their sockets open for a while
