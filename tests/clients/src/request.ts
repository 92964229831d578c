import { ClientError, GraphQLClient } from "graphql-request";
import {
  MessagesDocument,
  SendDocument,
  ThreadDocument,
  ThreadsDocument,
  TokenDocument,
  UpdateDocument,
} from "./generated.js";
import type { ThreadsQuery } from "./generated.js";
import { NONE, PAGED, THREE, follow, inputs, problems } from "./report.js";
import type { Client, Writes } from "./report.js";

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

async function writes(client: GraphQLClient): Promise<Writes> {
  const given = inputs("request");
  return {
    update: (await client.request(UpdateDocument, { input: given.update })).updateThread,
    send: (await client.request(SendDocument, { input: given.send })).createMessage,
    refused: (await client.request(SendDocument, { input: given.refused })).createMessage,
    token: (await client.request(TokenDocument, { input: given.token })).createChatToken,
  };
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
    writes: await writes(client),
  };
};
