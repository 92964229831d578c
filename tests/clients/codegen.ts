import type { CodegenConfig } from "@graphql-codegen/cli";

// The schema comes from the file, or from a running gateway.
const { SCHEMA_URL: url, SCHEMA_AUTHORIZATION: authorization = "" } = process.env;

const config: CodegenConfig = {
  schema: url === undefined ? "../../schema.graphql" : { [url]: { headers: { authorization } } },
  documents: "src/*.graphql",
  generates: {
    [url === undefined ? "src/generated.ts" : "build/generated-from-url.ts"]: { plugins: ["typescript-operations", "typed-document-node"] },
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
      Upload: "Blob",
      _Any: "unknown",
      _FieldSet: "string",
      federation__FieldSet: "string",
      link__Import: "string",
    },
  },
};

export default config;
