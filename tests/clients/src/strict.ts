// Reads a schema from standard input as strictly as graphql-js does, and prints the names of its directives.
import { readFileSync } from "node:fs";
import { buildSchema } from "graphql";

const schema = buildSchema(readFileSync(0, "utf-8"));
console.log(JSON.stringify(schema.getDirectives().map((each) => each.name)));
