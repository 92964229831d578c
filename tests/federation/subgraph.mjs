// Serves subgraph.graphql on a free port of 127.0.0.1 and prints its address. Every answer names the key it was found
// by. `GET /` returns the requests so far: their headers and the representations the router sent.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { graphql, parse } from "graphql";

const found = (what) => ({ id, externalId }) => `${what} of ${externalId ?? id}`;
const schema = buildSubgraphSchema({
  typeDefs: parse(readFileSync(new URL("subgraph.graphql", import.meta.url), "utf8")),
  resolvers: {
    Query: {
      escalations: (_root, { threads }) => threads.map((id) => ({ id })),
      suspect: (_root, { externalId }) => ({ externalId }),
    },
    Thread: { __resolveReference: (key) => key, risk: found("risk") },
    Customer: { __resolveReference: (key) => key, score: found("score") },
    Attachment: { __resolveReference: (key) => key, virusReport: found("report") },
  },
});

const requests = [];
const server = createServer(async (request, response) => {
  response.setHeader("content-type", "application/json");
  if (request.method === "GET") {
    response.end(JSON.stringify(requests));
    return;
  }
  const { query, variables, operationName } = await json(request);
  requests.push({ headers: request.headers, variables });
  const result = await graphql({ schema, source: query, variableValues: variables, operationName });
  response.end(JSON.stringify(result));
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
