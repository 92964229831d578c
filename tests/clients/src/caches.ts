// Prints the values of two customers' custom fields as normalised caches show them, by the name under which the field's id
// is selected. The arguments are the gateway's address and the `Authorization` header to call it with.
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Client as UrqlClient, fetchExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";

const [url = "", authorization = ""] = process.argv.slice(2);
const headers = { authorization };

interface Shown {
  thread: { customers: { profile: { customFields: { value: unknown }[] } | null }[] } | null;
}

const query = (name: string) => gql`
  query CustomFields {
    thread(id: "th-1") {
      id
      customers {
        id
        profile {
          customFields {
            ${name}
            value
          }
        }
      }
    }
  }
`;

const values = (data: Shown | undefined): unknown[] =>
  (data?.thread?.customers ?? []).flatMap((each) => (each.profile?.customFields ?? []).map((field) => field.value));

/** Apollo Client's cache as it is by default. */
async function apollo(name: string): Promise<unknown[]> {
  const client = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() });
  return values((await client.query<Shown>({ query: query(name) })).data);
}

/** urql's normalised cache; it has to be told of objects without an identity, and only warns where it is not. */
async function graphcache(name: string): Promise<unknown[]> {
  const cache = cacheExchange(name === "id" ? {} : { keys: { CustomerProfile: () => null, Field: () => null } });
  const client = new UrqlClient({ url, fetchOptions: { headers }, exchanges: [cache, fetchExchange] });
  return values((await client.query<Shown>(query(name), {}).toPromise()).data);
}

console.log(
  JSON.stringify({
    apollo: { id: await apollo("id"), fieldId: await apollo("fieldId") },
    graphcache: { id: await graphcache("id"), fieldId: await graphcache("fieldId") },
  }),
);
