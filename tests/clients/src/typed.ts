// Prints what TanStack Query and gql.tada make of the gateway. The arguments are its address and the `Authorization` header
// to call it with.
import { QueryClient } from "@tanstack/query-core";
import { GraphQLClient } from "graphql-request";
import { initGraphQLTada, readFragment } from "gql.tada";
import type { introspection } from "./generated-tada.js";
import { MessagesDocument, ThreadDocument } from "./generated.js";

const [url = "", authorization = ""] = process.argv.slice(2);
const client = new GraphQLClient(url, { headers: { authorization } });

/** A query by its key, again from the cache, one that fails, and the newest messages page by page. */
async function tanstack(): Promise<unknown> {
  const queries = new QueryClient();
  let calls = 0;
  const thread = (id: string) => ({
    queryKey: ["thread", id],
    staleTime: Infinity,
    queryFn: () => {
      calls += 1;
      return client.request(ThreadDocument, { id });
    },
  });
  const first = await queries.fetchQuery(thread("th-1"));
  const again = await queries.fetchQuery(thread("th-1"));
  const failed: unknown = await queries.fetchQuery({ ...thread("th-101"), retry: false }).catch((error: unknown) => error);
  const pages = await queries.fetchInfiniteQuery({
    queryKey: ["messages", "th-1"],
    queryFn: ({ pageParam }) => client.request(MessagesDocument, { id: "th-1", first: 3, after: pageParam }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) =>
      page.thread?.messages?.pageInfo.hasNextPage ? page.thread.messages.pageInfo.endCursor : undefined,
    pages: 2,
  });
  return {
    status: first.thread?.status,
    isCached: first === again,
    calls,
    failed: String(failed),
    pages: pages.pages.map((page) => page.thread?.messages?.edges.map(({ node }) => node.id)),
  };
}

const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: {
    BigInt: number;
    CustomerAccountType: string | number;
    Date: string;
    DateTime: string;
    JSON: unknown;
    MessageDelivery: string | number;
    MessageOrigin: string | number;
    ThreadStatus: string | number;
  };
}>();

const Last = graphql(`
  fragment Last on Thread {
    lastMessage {
      createdAt
      attachments {
        fileSize
      }
    }
  }
`);

const Typed = graphql(
  `
    query Typed($id: ID!) {
      thread(id: $id) {
        status
        ...Last
      }
    }
  `,
  [Last],
);

/** A query whose types come from its text. */
async function tada(): Promise<unknown> {
  const { thread } = await client.request(Typed, { id: "th-1" });
  const status: string | number | null | undefined = thread?.status;
  const last = readFragment(Last, thread)?.lastMessage;
  const size: number | null | undefined = last?.attachments[0]?.fileSize;
  // @ts-expect-error the schema has no such field
  const absent: unknown = thread?.nothing;
  return { status, createdAt: last?.createdAt, size, absent: absent === undefined };
}

console.log(JSON.stringify({ tanstack: await tanstack(), tada: await tada() }));
