import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "../../schema.graphql",
  documents: "src/*.graphql",
  generates: {
    "src/generated.ts": { plugins: ["typescript", "typescript-operations", "typed-document-node"] },
  },
  config: {
    strictScalars: true,
    useTypeImports: true,
    scalars: {
      BigInt: "number",
      CustomerAccountType: "string | number",
      Date: "string",
      DateTime: "string",
      JSON: "unknown",
      MessageDelivery: "string | number",
      MessageOrigin: "string | number",
      ThreadStatus: "string | number",
      _Any: "unknown",
    },
  },
};

export default config;
