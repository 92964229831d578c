import { defineConfig } from "@graphql-hive/gateway";

export const gatewayConfig = defineConfig({
  supergraph: "supergraph.graphql",
  propagateHeaders: {
    fromClientToSubgraphs({ request, subgraphName }) {
      const authorization = request.headers.get("authorization");
      return subgraphName === "gochat" && authorization ? { authorization } : {};
    },
  },
});
