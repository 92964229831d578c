// Serves subgraph.graphql on a free port of 127.0.0.1 and prints its address. Every answer names the key it was found
// by. A subscription is sent as events (graphql-sse, distinct connections mode). `GET /` without a query returns the
// requests so far: their headers and the representations the router sent.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { getOperationAST, graphql, parse, subscribe } from "graphql";

const found = (what) => ({ id, externalId }) => `${what} of ${externalId ?? id}`;
const schema = buildSubgraphSchema({
  typeDefs: parse(readFileSync(new URL("subgraph.graphql", import.meta.url), "utf8")),
  resolvers: {
    Query: {
      escalations: (_root, { threads }) => threads.map((id) => ({ id })),
      suspect: (_root, { externalId }) => ({ externalId }),
    },
    Subscription: {
      escalated: {
        async *subscribe(_root, { threads }) {
          for (const id of threads) yield { escalated: { id } };
        },
      },
    },
    Thread: { __resolveReference: (key) => key, risk: found("risk") },
    Customer: { __resolveReference: (key) => key, score: found("score") },
    Attachment: { __resolveReference: (key) => key, virusReport: found("report") },
  },
});

async function stream(operation, response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for await (const result of await subscribe({ schema, ...operation })) {
    response.write(`event: next\ndata: ${JSON.stringify(result)}\n\n`);
  }
  response.end("event: complete\ndata:\n\n");
}

const requests = [];
const server = createServer(async (request, response) => {
  response.setHeader("content-type", "application/json");
  const asked = new URL(request.url, "http://subgraph").searchParams;
  if (request.method === "GET" && !asked.has("query")) {
    response.end(JSON.stringify(requests));
    return;
  }
  const { query, variables, operationName } =
    request.method === "GET"
      ? { query: asked.get("query"), variables: JSON.parse(asked.get("variables") ?? "{}") }
      : await json(request);
  requests.push({ headers: request.headers, variables });
  const document = parse(query);
  if (getOperationAST(document, operationName)?.operation === "subscription") {
    await stream({ document, variableValues: variables, operationName }, response);
    return;
  }
  const result = await graphql({ schema, source: query, variableValues: variables, operationName });
  response.end(JSON.stringify(result));
});
server.keepAliveTimeout = 0; // a connection that ends just as a request is sent loses that
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
