// Sends a mutation with each client, and then a query with Apollo Client, to a server that gives no answer. The argument
// is its address. Prints the names of the clients that show an error.
import { GraphQLClient } from "graphql-request";
import { connect as connectApollo } from "./apollo.js";
import { ThreadDocument, TokenDocument } from "./generated.js";
import { inputs } from "./report.js";
import { connect as connectUrql } from "./urql.js";

const [url = ""] = process.argv.slice(2);
const input = inputs("lost").token;
const apollo = connectApollo(url, { client: "apollo" });
const urql = connectUrql(url, { client: "urql" });
const request = new GraphQLClient(url, { headers: { client: "request" } });

const failed: string[] = [];
const fails = (name: string) => () => failed.push(name);
await apollo.mutate({ mutation: TokenDocument, variables: { input } }).catch(fails("apollo"));
await request.request(TokenDocument, { input }).catch(fails("request"));
if ((await urql.mutation(TokenDocument, { input }).toPromise()).error) failed.push("urql");
await apollo.query({ query: ThreadDocument, variables: { id: "th-1" } }).catch(fails("apollo's query"));
console.log(JSON.stringify(failed));
