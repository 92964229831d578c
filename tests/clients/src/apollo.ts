import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache } from "@apollo/client/core";
import type { ErrorLike } from "@apollo/client/core";
import { relayStylePagination } from "@apollo/client/utilities";
import { RetryLink } from "@apollo/client/link/retry";
import {
  MessagesDocument,
  SendDocument,
  ThreadDocument,
  ThreadsDocument,
  TokenDocument,
  UpdateDocument,
} from "./generated.js";
import type { MessagesQuery } from "./generated.js";
import { NONE, PAGED, THREE, inputs, problems } from "./report.js";
import type { Client, Problem, Writes } from "./report.js";

export function connect(uri: string, headers: Record<string, string>): ApolloClient {
  return new ApolloClient({
    link: new RetryLink({
      // A mutation that got no answer may have been carried out.
      attempts: (count, { operationType }) => operationType === "query" && count < 3,
    }).concat(new HttpLink({ uri, headers })),
    cache: new InMemoryCache({
      typePolicies: {
        Thread: { fields: { messages: relayStylePagination() } },
      },
    }),
  });
}

function shown(error: ErrorLike | undefined): Problem[] {
  if (error === undefined || CombinedGraphQLErrors.is(error)) return problems(error?.errors);
  throw error;
}

async function pages(client: ApolloClient): Promise<string[][]> {
  const seen: string[][] = [];
  const query = client.watchQuery({ query: MessagesDocument, variables: PAGED });
  let { data } = (await query.reobserve()) as { data: MessagesQuery };
  for (;;) {
    const messages = data.thread?.messages;
    seen.push((messages?.edges ?? []).map((edge) => edge.node.id));
    if (!messages?.pageInfo.hasNextPage) return seen;
    await query.fetchMore({ variables: { after: messages.pageInfo.endCursor } });
    data = query.getCurrentResult().data as MessagesQuery;
  }
}

async function writes(client: ApolloClient): Promise<Writes> {
  const given = inputs("apollo");
  const update = await client.mutate({ mutation: UpdateDocument, variables: { input: given.update } });
  const send = await client.mutate({ mutation: SendDocument, variables: { input: given.send } });
  const refused = await client.mutate({ mutation: SendDocument, variables: { input: given.refused } });
  const token = await client.mutate({ mutation: TokenDocument, variables: { input: given.token } });
  return {
    update: update.data?.updateThread,
    send: send.data?.createMessage,
    refused: refused.data?.createMessage,
    token: token.data?.createChatToken,
  };
}

export const apollo: Client = async ({ url, authorization }) => {
  const client = connect(url, { authorization });
  const { data } = await client.query({ query: ThreadDocument, variables: { id: "th-1" } });
  const partial = await client.query({ query: ThreadsDocument, variables: { ids: THREE }, errorPolicy: "all" });
  const wrong = await client.query({ query: ThreadDocument, variables: NONE, errorPolicy: "all" });
  const anonymous = await connect(url, {}).query({
    query: ThreadDocument,
    variables: { id: "th-1" },
    errorPolicy: "all",
  });
  return {
    thread: data?.thread ?? null,
    pages: await pages(client),
    partial: { threads: partial.data?.threads, problems: shown(partial.error) },
    wrong: shown(wrong.error),
    anonymous: shown(anonymous.error),
    writes: await writes(client),
  };
};
