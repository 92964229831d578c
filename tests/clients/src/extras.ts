// Prints what clients make of what is optional: documents named by their hash, and answers in parts. The arguments are
// the gateway's address and the `Authorization` header to call it with.
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Defer20220824Handler, GraphQL17Alpha9Handler } from "@apollo/client/incremental";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import type { DocumentNode } from "graphql";
import { Client as UrqlClient, fetchExchange } from "@urql/core";

const [url = "", authorization = ""] = process.argv.slice(2);
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
  nested: gql`
    query Nested {
      threads(ids: ["th-1", "th-2", "th-1"]) @stream(initialCount: 1) {
        id
        lastMessage {
          attachments @stream(initialCount: 1) {
            id
          }
        }
      }
    }
  `,
  failing: gql`
    query Failing {
      threads(ids: ["th-1", "th-101", "nowhere", "th-2"]) @stream {
        id
        ... @defer {
          messages(first: 1) {
            totalCount
          }
        }
      }
    }
  `,
};
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

// Apollo's own types of it do not pass `exactOptionalPropertyTypes`.
type Handler = NonNullable<ApolloClient.Options["incrementalHandler"]>;

/** What an application is shown: the data, time after time, until it is complete, and the codes of the errors. */
interface Shown {
  states: unknown[];
  codes: unknown[];
}

const codesOf = (error: unknown): unknown[] => {
  const list = (error as { errors?: unknown[]; graphQLErrors?: unknown[] } | undefined) ?? {};
  return (list.errors ?? list.graphQLErrors ?? []).map(
    (each) => (each as { extensions?: { code?: unknown } }).extensions?.code,
  );
};

/** Operations as Apollo Client shows them. */
function apollo(incrementalHandler: Handler): (document: DocumentNode) => Promise<Shown> {
  const link = new HttpLink({ uri: url, headers });
  const client = new ApolloClient({ link, cache: new InMemoryCache(), incrementalHandler });
  return (document) =>
    new Promise((resolve) => {
      const states: unknown[] = [];
      client.watchQuery({ query: document, fetchPolicy: "no-cache", errorPolicy: "all" }).subscribe((result) => {
        if (result.dataState !== "empty") states.push(structuredClone(result.data));
        if (!result.loading) resolve({ states, codes: codesOf(result.error) });
      });
    });
}

/** The same as urql shows them. */
function urql(document: DocumentNode): Promise<Shown> {
  const client = new UrqlClient({ url, fetchOptions: { headers }, exchanges: [fetchExchange] });
  const states: unknown[] = [];
  return new Promise((resolve) => {
    client.query(document, {}, { requestPolicy: "network-only" }).subscribe((result) => {
      states.push(structuredClone(result.data));
      if (!result.hasNext) resolve({ states, codes: codesOf(result.error) });
    });
  });
}

/** What each operation comes to. */
async function all(show: (document: DocumentNode) => Promise<Shown>): Promise<Record<string, Shown>> {
  const shown: Record<string, Shown> = {};
  for (const [name, document] of Object.entries(INCREMENTAL)) shown[name] = await show(document);
  return shown;
}

console.log(
  JSON.stringify({
    persisted: await persisted(),
    apollo: await all(apollo(new GraphQL17Alpha9Handler() as unknown as Handler)),
    "apollo, older form": await all(apollo(new Defer20220824Handler())),
    urql: await all(urql),
  }),
);
