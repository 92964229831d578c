import { defineConfig } from "@graphql-hive/gateway";
import { gatewayConfig as overHttp } from "./gateway.config.mjs";

export const gatewayConfig = defineConfig({
  ...overHttp,
  transportEntries: {
    gochat: {
      options: {
        subscriptions: {
          kind: "ws",
          location: "/graphql",
          options: { connectionParams: { authorization: "{context.headers.authorization}" } },
        },
      },
    },
  },
});
