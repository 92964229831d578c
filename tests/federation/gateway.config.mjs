import { defineConfig } from "@graphql-hive/gateway";

const overWebSocket = {
  options: {
    subscriptions: {
      kind: "ws",
      location: "/graphql",
      options: { connectionParams: { authorization: "{context.headers.authorization}" } },
    },
  },
};

export const gatewayConfig = defineConfig({
  supergraph: "supergraph.graphql",
<<<<<<< HEAD
  multipart: true,
=======
  transportEntries: process.env.SUBSCRIPTIONS_OVER === "websocket" ? { gochat: overWebSocket } : {},
>>>>>>> 453617c (Let Hive Gateway subscribe over WebSockets, and carry a subscription of another subgraph to our threads)
  propagateHeaders: {
    fromClientToSubgraphs({ request, subgraphName }) {
      if (subgraphName !== "gochat") return {};
      const names = ["authorization", "apollo-require-preflight"];
      return Object.fromEntries(names.map((name) => [name, request.headers.get(name)]).filter(([, value]) => value));
    },
  },
});
