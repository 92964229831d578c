// Serves a supergraph with Apollo Gateway on a free port of 127.0.0.1 and prints its address. The argument is the path of
// the supergraph.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { getOperationAST, parse } from "graphql";

const gateway = new ApolloGateway({
  supergraphSdl: readFileSync(process.argv[2], "utf8"),
  buildService: ({ name, url }) =>
    new RemoteGraphQLDataSource({
      url,
      willSendRequest({ request, context }) {
        if (name !== "gochat") return;
        for (const header of ["authorization", "x-request-id"]) {
          if (context.headers?.[header]) request.http.headers.set(header, context.headers[header]);
        }
      },
    }),
});
const { schema, executor } = await gateway.load();
const cache = new Map();
const store = { get: async (key) => cache.get(key), set: async (key, value) => void cache.set(key, value) };

const server = createServer(async (request, response) => {
  const { query, variables, operationName = null } = await json(request);
  const document = parse(query);
  const result = await executor({
    schema,
    document,
    source: query,
    queryHash: query,
    operationName,
    operation: getOperationAST(document, operationName),
    request: { query, variables, operationName },
    context: { headers: request.headers },
    cache: store,
    logger: console,
    metrics: {},
    overallCachePolicy: {},
  });
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(result));
});
server.keepAliveTimeout = 0; // a connection that ends just as a request is sent loses that
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
