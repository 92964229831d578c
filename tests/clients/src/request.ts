import { ClientError, GraphQLClient } from "graphql-request";
import { MessagesDocument, ThreadDocument, ThreadsDocument } from "./generated.js";
import type { ThreadsQuery } from "./generated.js";
import { NONE, PAGED, THREE, follow, problems } from "./report.js";
import type { Client } from "./report.js";

/** Returns what a call that fails is refused with; the data that came all the same is in it too. */
async function refusal(call: Promise<unknown>): Promise<ClientError["response"]> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ClientError) return error.response;
    throw error;
  }
  throw new Error("the call did not fail");
}

export const request: Client = async ({ url, authorization }) => {
  const client = new GraphQLClient(url, { headers: { authorization } });
  const { thread } = await client.request(ThreadDocument, { id: "th-1" });
  const partial = await refusal(client.request(ThreadsDocument, { ids: THREE }));
  const wrong = await refusal(client.request(ThreadDocument, NONE));
  const anonymous = await refusal(new GraphQLClient(url).request(ThreadDocument, { id: "th-1" }));
  return {
    thread,
    pages: await follow(async (after) => (await client.request(MessagesDocument, { ...PAGED, after })).thread),
    partial: { threads: (partial.data as ThreadsQuery | undefined)?.threads, problems: problems(partial.errors) },
    wrong: problems(wrong.errors),
    anonymous: problems(anonymous.errors),
  };
};
