import { defineConfig } from "@graphql-hive/gateway";

export const gatewayConfig = defineConfig({
  supergraph: "supergraph.graphql",
  multipart: true,
  propagateHeaders: {
    fromClientToSubgraphs({ request, subgraphName }) {
      if (subgraphName !== "gochat") return {};
      const names = ["authorization", "apollo-require-preflight"];
      return Object.fromEntries(names.map((name) => [name, request.headers.get(name)]).filter(([, value]) => value));
    },
  },
});
