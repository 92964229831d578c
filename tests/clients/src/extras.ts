// Prints what clients make of what is optional: documents named by their hash, batches, and answers in parts. The
// arguments are the gateway's address, the `Authorization` header to call it with, and the address of one with batches.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Defer20220824Handler, GraphQL17Alpha9Handler } from "@apollo/client/incremental";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { parse } from "graphql";
import type { DocumentNode } from "graphql";
import { Client as UrqlClient, fetchExchange } from "@urql/core";
import { socketClient, urqlOverSocket } from "./sockets.js";

const [url = "", authorization = "", batchingUrl = ""] = process.argv.slice(2);
const headers = { authorization };

const THREAD = gql`
  query Named {
    thread(id: "th-1") {
      id
      status
    }
  }
`;
/** Incremental operations: each client shows the whole response in the end. */
const INCREMENTAL = {
  deferred: gql`
    query Deferred {
      thread(id: "th-1") {
        id
        ... @defer {
          messages(first: 1) {
            totalCount
          }
        }
      }
    }
  `,
  streamed: gql`
    query Streamed {
      threads(ids: ["th-1", "th-2", "th-3", "th-4"]) @stream(initialCount: 1) {
        id
        tags
      }
    }
  `,
};
/** More of them, by their names, from standard input: their data has to be complete in the end, with all errors. */
const MERGED = JSON.parse(readFileSync(0, "utf8")) as Record<string, string>;

/** Asks for one document three times, as Apollo Client does it: with its hash alone where the gateway knows it. */
async function persisted(): Promise<unknown> {
  const exchanges: string[] = [];
  const noting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    exchanges.push(`${init?.method ?? "GET"} ${response.status}`);
    return response;
  };
  const sha256 = (query: string): string => createHash("sha256").update(query).digest("hex");
  const link = ApolloLink.from([
    new PersistedQueryLink({ sha256, useGETForHashedQueries: true }),
    new HttpLink({ uri: url, headers, fetch: noting }),
  ]);
  const answers: unknown[] = [];
  for (let times = 0; times < 3; times++) {
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    answers.push((await client.query<{ thread: unknown }>({ query: THREAD })).data?.thread);
  }
  return { answers, exchanges };
}

/** What Apollo's batching link shows of two queries that are sent in one request: their data, or why there is none. */
async function batched(uri: string): Promise<unknown> {
  let requests = 0;
  const counting: typeof fetch = (input, init) => {
    requests += 1;
    return fetch(input, init);
  };
  const link = new BatchHttpLink({ uri, headers, fetch: counting });
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const ask = (id: string) =>
    client
      .query<{ thread: unknown }>({ query: gql`query Batched($id: ID!) { thread(id: $id) { id } }`, variables: { id } })
      .then(({ data }) => data?.thread, String);
  return { shown: await Promise.all([ask("th-1"), ask("th-2")]), requests };
}

// Apollo's own types of it do not pass `exactOptionalPropertyTypes`.
type Handler = NonNullable<ApolloClient.Options["incrementalHandler"]>;

/** What an application is shown: the data, time after time, until it is complete, and the errors. */
interface Shown {
  states: unknown[];
  errors: unknown[];
}

const errorsOf = (error: unknown): unknown[] => {
  const list = (error as { errors?: unknown[]; graphQLErrors?: unknown[] } | undefined) ?? {};
  return list.errors ?? list.graphQLErrors ?? (error === undefined ? [] : [String(error)]);
};

/** Operations as Apollo Client shows them. */
function apollo(
  incrementalHandler: Handler,
  link: ApolloLink = new HttpLink({ uri: url, headers }),
): (document: DocumentNode) => Promise<Shown> {
  const client = new ApolloClient({ link, cache: new InMemoryCache(), incrementalHandler });
  return (document) =>
    new Promise((resolve) => {
      const states: unknown[] = [];
      client.watchQuery({ query: document, fetchPolicy: "no-cache", errorPolicy: "all" }).subscribe((result) => {
        if (result.dataState !== "empty") states.push(structuredClone(result.data));
        if (!result.loading) resolve({ states, errors: errorsOf(result.error) });
      });
    });
}

/** The same as urql shows them. */
function urql(client: UrqlClient): (document: DocumentNode) => Promise<Shown> {
  return (document) =>
    new Promise((resolve) => {
      const states: unknown[] = [];
      client.query(document, {}, { requestPolicy: "network-only" }).subscribe((result) => {
        states.push(structuredClone(result.data));
        if (!result.hasNext) resolve({ states, errors: errorsOf(result.error) });
      });
    });
}

/** What each operation comes to. */
async function all(show: (document: DocumentNode) => Promise<Shown>): Promise<Record<string, Shown>> {
  const shown: Record<string, Shown> = {};
  for (const [name, document] of Object.entries(INCREMENTAL)) shown[name] = await show(document);
  for (const [name, text] of Object.entries(MERGED)) {
    const { states, errors } = await show(parse(text));
    shown[name] = { states: states.slice(-1), errors };
  }
  return shown;
}

const newerForm = (): Handler => new GraphQL17Alpha9Handler() as unknown as Handler;
const socket = socketClient(url, { authorization });
console.log(
  JSON.stringify({
    persisted: await persisted(),
    batches: { refused: await batched(url), answered: await batched(batchingUrl) },
    apollo: await all(apollo(newerForm())),
    "apollo, older form": await all(apollo(new Defer20220824Handler())),
    urql: await all(urql(new UrqlClient({ url, fetchOptions: { headers }, exchanges: [fetchExchange] }))),
    "apollo over websocket": await all(apollo(newerForm(), new GraphQLWsLink(socket))),
    "urql over websocket": await all(urql(urqlOverSocket(url, socket))),
  }),
);
await socket.dispose();
