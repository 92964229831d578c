// Prints what each client makes of the gateway whose address is the first argument, as JSON. The second is
// the `Authorization` header to call it with.
import { apollo } from "./apollo.js";
import { request } from "./request.js";
import { urql } from "./urql.js";

const [url = "", authorization = ""] = process.argv.slice(2);
const clients = { apollo, request, urql };
const reports: Record<string, unknown> = {};
for (const [name, client] of Object.entries(clients)) {
  reports[name] = await client({ url, authorization }).catch((error: unknown) => String(error));
}
console.log(JSON.stringify(reports));
