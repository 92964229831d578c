// Prints the outcome of a message with two files that each client sends. The arguments are the gateway's address and the
// `Authorization` header to call it with. `plain` is what graphql-request gets without the middleware.
import { ApolloClient, InMemoryCache } from "@apollo/client/core";
import UploadHttpLink from "apollo-upload-client/UploadHttpLink.mjs";
import { Client as UrqlClient, fetchExchange } from "@urql/core";
import { ClientError, GraphQLClient } from "graphql-request";
import { SendDocument } from "./generated.js";
import type { CreateMessageInput } from "./generated.js";
import { uploads } from "./request-uploads.js";

const [url = "", authorization = ""] = process.argv.slice(2);
const headers = { authorization, "apollo-require-preflight": "true" };

function input(client: string): CreateMessageInput {
  const name = `${client} “Ü” 🪁 a/b "c".txt`;
  return {
    threadId: "th-2",
    attachments: [
      { upload: new File([`from ${client}`], name) },
      { name: "named.bin", upload: new File([new Uint8Array(300_000).fill(7)], "other.bin") },
    ],
  };
}

const apollo = new ApolloClient({ cache: new InMemoryCache(), link: new UploadHttpLink({ uri: url, headers }) });
const urql = new UrqlClient({ url, fetchOptions: { headers }, exchanges: [fetchExchange] });

const request = new GraphQLClient(url, { headers: { authorization }, requestMiddleware: uploads });
const plain = new GraphQLClient(url, { headers: { authorization } });

const sent = await apollo.mutate({ mutation: SendDocument, variables: { input: input("apollo") } });
const other = await urql.mutation(SendDocument, { input: input("urql") }).toPromise();
if (other.error !== undefined) throw other.error;
const third = await request.request(SendDocument, { input: input("request") });
const refused = await plain.request(SendDocument, { input: input("plain") }).catch((error: ClientError) => error);
console.log(
  JSON.stringify({
    apollo: sent.data?.createMessage?.outcome,
    urql: other.data?.createMessage?.outcome,
    request: third.createMessage?.outcome,
    plain: refused instanceof ClientError ? refused.response.errors?.[0] : refused,
  }),
);
