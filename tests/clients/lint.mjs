// Prints how often each of graphql-eslint's rules for schemas reports the one on standard input, by the rule's name.
import { readFileSync } from "node:fs";
import plugin from "@graphql-eslint/eslint-plugin";
import { ESLint } from "eslint";

const schema = readFileSync(0, "utf8");
const eslint = new ESLint({
  overrideConfigFile: true,
  overrideConfig: {
    files: ["**/*.graphql"],
    languageOptions: { parser: plugin.parser, parserOptions: { graphQLConfig: { schema } } },
    plugins: { "@graphql-eslint": plugin },
    rules: plugin.configs["flat/schema-all"].rules,
  },
});
const [{ messages }] = await eslint.lintText(schema, { filePath: "client.graphql" });
const counts = {};
for (const { ruleId, message } of messages) (counts[ruleId?.replace("@graphql-eslint/", "") ?? message] ??= []).push(message);
console.log(JSON.stringify(counts));
