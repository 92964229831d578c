// Prints each check of the GraphQL over HTTP audit of the address given, with its result, as one JSON array.
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2] });
const rows = results.map(({ id, name, status, reason, response }) => ({
  id,
  name,
  status,
  reason,
  answer: response && `${response.status} ${response.headers.get("content-type")}`,
}));
console.log(JSON.stringify(rows));
