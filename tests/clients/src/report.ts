import type {
  CreateChatTokenInput,
  CreateMessageInput,
  MessagesQuery,
  SendMutation,
  ThreadQuery,
  ThreadsQuery,
  TokenMutation,
  UpdateMutation,
  UpdateThreadInput,
} from "./generated.js";

/** An error as a client shows it to its application. */
export interface Problem {
  code: unknown;
  path: string;
}

/** What one client makes of the gateway. */
export interface Report {
  /** A nested query with a variable. */
  thread: ThreadQuery["thread"];
  /** The ids of a thread's messages, page by page as the application sees them. */
  pages: string[][];
  /** One thread of three fails. */
  partial: { threads: ThreadsQuery["threads"] | undefined; problems: Problem[] };
  /** A variable is missing: the operation cannot begin. */
  wrong: Problem[];
  /** The call carries no credentials. */
  anonymous: Problem[];
  /** The three mutations, and one whose recipient is refused. */
  writes: Writes;
}

export interface Writes {
  update: UpdateMutation["updateThread"] | undefined;
  send: SendMutation["createMessage"] | undefined;
  refused: SendMutation["createMessage"] | undefined;
  token: TokenMutation["createChatToken"] | undefined;
}

/** What a client writes; `name` is the client's. */
export function inputs(name: string): {
  update: UpdateThreadInput;
  send: CreateMessageInput;
  refused: CreateMessageInput;
  token: CreateChatTokenInput;
} {
  const idempotencyKey = crypto.randomUUID();
  return {
    update: { id: "th-1", tagCodes: [name], reminder: { delay: 3, numberLeft: 1 } },
    send: { threadId: "th-2", content: `from ${name}`, delivery: 1, idempotencyKey },
    refused: { threadId: "th-1", to: "nobody@nowhere.example" },
    token: { externalId: "cu-1", emails: ["customer@sandbox.example"] },
  };
}

export interface Service {
  url: string;
  authorization: string;
}

export type Client = (service: Service) => Promise<Report>;

/** Two threads that are there, around one for which the REST API fails. */
export const THREE = ["th-100", "th-101", "th-102"];

export const PAGED = { id: "th-1", first: 3 };

/** What each client's errors have in common. */
export function problems(
  errors: ReadonlyArray<{ path?: ReadonlyArray<string | number> | undefined; extensions?: Record<string, unknown> }> = [],
): Problem[] {
  return errors.map(({ path = [], extensions }) => ({ code: extensions?.["code"], path: path.join(".") }));
}

/** The ids of each page of a thread's messages; `fetch` asks for the page after a cursor. */
export async function follow(
  fetch: (after: string | null) => Promise<MessagesQuery["thread"] | undefined>,
): Promise<string[][]> {
  const seen: string[][] = [];
  let page = (await fetch(null))?.messages;
  while (page) {
    seen.push(page.edges.map((edge) => edge.node.id));
    page = page.pageInfo.hasNextPage ? (await fetch(page.pageInfo.endCursor))?.messages : null;
  }
  return seen;
}

/** Asks for an operation without the variables it needs, which no typed call allows. */
export const NONE = {} as never;
