// Prints what Relay makes of the gateway. The arguments are its address and the `Authorization` header to call it with.
// The documents are compiled by relay-compiler, which wants the name of this file in theirs.
const {
  Environment,
  Network,
  RecordSource,
  Store,
  createOperationDescriptor,
  fetchQuery,
  getRequest,
  getSelector,
} = require("relay-runtime");
const byFieldId = require("./__generated__/ConversationFieldIdQuery.graphql");
const byId = require("./__generated__/ConversationIdQuery.graphql");
const messages = require("./__generated__/Conversation_messages.graphql");
const newest = require("./__generated__/ConversationNewestQuery.graphql");
const earlier = require("./__generated__/ConversationEarlierQuery.graphql");

const [url, authorization] = process.argv.slice(2);
const graphql = () => undefined; // relay-compiler reads the documents, and what it writes is used instead

graphql`
  query ConversationFieldIdQuery {
    thread(id: "th-1") {
      customers {
        profile {
          customFields {
            fieldId
            value
          }
        }
      }
    }
  }
`;

graphql`
  query ConversationIdQuery {
    thread(id: "th-1") {
      customers {
        profile {
          customFields {
            id
            value
          }
        }
      }
    }
  }
`;

graphql`
  fragment Conversation_messages on Query
  @refetchable(queryName: "ConversationEarlierQuery")
  @argumentDefinitions(id: { type: "ID!" }, count: { type: "Int", defaultValue: 20 }, before: { type: "String" }) {
    thread(id: $id) {
      messages(last: $count, before: $before) @connection(key: "Conversation_messages") {
        edges {
          node {
            id
            content
          }
        }
      }
    }
  }
`;

graphql`
  query ConversationNewestQuery($id: ID!) {
    ...Conversation_messages @arguments(id: $id, count: 2)
  }
`;

// A thread and a customer may have the same id: only with its type is it the identity of an object.
const getDataID = (node, type) => (node.id == null ? null : `${type}:${node.id}`);

function environment(options) {
  const network = Network.create(async ({ text }, variables) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization },
      body: JSON.stringify({ query: text, variables }),
    });
    return response.json();
  });
  return new Environment({ network, store: new Store(new RecordSource()), ...options });
}

/** The values of the customers' custom fields, or the error with which Relay refuses the whole query. */
async function values(query, options) {
  try {
    const { thread } = await fetchQuery(environment(options), query, {}).toPromise();
    return thread.customers.flatMap(({ profile }) => (profile?.customFields ?? []).map((field) => field.value));
  } catch (error) {
    return String(error);
  }
}

/** The ids of a thread's messages as a component is shown them: the newest page, and then the one before as well. */
async function pages() {
  const id = "th-1";
  const relay = environment({ getDataID });
  const shown = () => {
    const { fragment } = createOperationDescriptor(getRequest(newest), { id });
    return relay.lookup(getSelector(messages, relay.lookup(fragment).data)).data.thread.messages;
  };
  const ids = () => shown().edges.map(({ node }) => node.id);
  await fetchQuery(relay, newest, { id }).toPromise();
  const first = ids();
  await fetchQuery(relay, earlier, { id, count: 2, before: shown().pageInfo.startCursor }).toPromise();
  return [first, ids(), shown().pageInfo.hasPreviousPage];
}

async function main() {
  const report = {
    fieldId: { default: await values(byFieldId, {}), typed: await values(byFieldId, { getDataID }) },
    id: { default: await values(byId, {}), typed: await values(byId, { getDataID }) },
    pages: await pages(),
  };
  console.log(JSON.stringify(report));
}

main();
