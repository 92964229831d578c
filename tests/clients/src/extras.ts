// Prints what clients make of what is optional: documents named by their hash, and answers in parts. The arguments are
// the gateway's address and the `Authorization` header to call it with.
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Defer20220824Handler, GraphQL17Alpha9Handler } from "@apollo/client/incremental";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
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
const DEFERRED = gql`
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
`;

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

/** The thread as Apollo Client shows it, time after time, until it is complete. */
function apolloDeferred(incrementalHandler: Handler): Promise<unknown[]> {
  const link = new HttpLink({ uri: url, headers });
  const client = new ApolloClient({ link, cache: new InMemoryCache(), incrementalHandler });
  const states: unknown[] = [];
  return new Promise((resolve, reject) => {
    client.watchQuery<{ thread: unknown }>({ query: DEFERRED, fetchPolicy: "no-cache" }).subscribe({
      next: (result) => {
        if (result.error !== undefined) reject(result.error);
        if (result.dataState !== "empty") states.push((result.data as { thread: unknown }).thread);
        if (result.dataState === "complete") resolve(states);
      },
      error: reject,
    });
  });
}

/** The same as urql shows it. */
function urqlDeferred(): Promise<unknown[]> {
  const client = new UrqlClient({ url, fetchOptions: { headers }, exchanges: [fetchExchange] });
  const states: unknown[] = [];
  return new Promise((resolve, reject) => {
    client.query<{ thread: unknown }>(DEFERRED, {}).subscribe((result) => {
      if (result.error !== undefined) reject(result.error);
      states.push(structuredClone(result.data?.thread));
      if (!result.hasNext) resolve(states);
    });
  });
}

console.log(
  JSON.stringify({
    persisted: await persisted(),
    apollo: await apolloDeferred(new GraphQL17Alpha9Handler() as unknown as Handler),
    "apollo, older form": await apolloDeferred(new Defer20220824Handler()),
    urql: await urqlDeferred(),
  }),
);
