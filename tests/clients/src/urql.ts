import { Client as UrqlClient, cacheExchange, fetchExchange } from "@urql/core";
import type { CombinedError } from "@urql/core";
import {
  MessagesDocument,
  SendDocument,
  ThreadDocument,
  ThreadsDocument,
  TokenDocument,
  UpdateDocument,
} from "./generated.js";
import { NONE, PAGED, THREE, follow, inputs, problems } from "./report.js";
import type { Client, Problem, Writes } from "./report.js";

export function connect(url: string, headers: Record<string, string>): UrqlClient {
  return new UrqlClient({ url, fetchOptions: { headers }, exchanges: [cacheExchange, fetchExchange] });
}

function shown(error: CombinedError | undefined): Problem[] {
  if (error?.networkError !== undefined) throw error;
  return problems(error?.graphQLErrors);
}

async function writes(client: UrqlClient): Promise<Writes> {
  const given = inputs("urql");
  const update = await client.mutation(UpdateDocument, { input: given.update }).toPromise();
  const send = await client.mutation(SendDocument, { input: given.send }).toPromise();
  const refused = await client.mutation(SendDocument, { input: given.refused }).toPromise();
  const token = await client.mutation(TokenDocument, { input: given.token }).toPromise();
  return {
    update: update.data?.updateThread,
    send: send.data?.createMessage,
    refused: refused.data?.createMessage,
    token: token.data?.createChatToken,
  };
}

export const urql: Client = async ({ url, authorization }) => {
  const client = connect(url, { authorization });
  const { data } = await client.query(ThreadDocument, { id: "th-1" }).toPromise();
  const partial = await client.query(ThreadsDocument, { ids: THREE }).toPromise();
  const wrong = await client.query(ThreadDocument, NONE).toPromise();
  const anonymous = await connect(url, {}).query(ThreadDocument, { id: "th-1" }).toPromise();
  return {
    thread: data?.thread ?? null,
    pages: await follow(async (after) => {
      const page = await client.query(MessagesDocument, { ...PAGED, after }).toPromise();
      return page.data?.thread;
    }),
    partial: { threads: partial.data?.threads, problems: shown(partial.error) },
    wrong: shown(wrong.error),
    anonymous: shown(anonymous.error),
    writes: await writes(client),
  };
};
