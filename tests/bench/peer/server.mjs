// What a good Node developer would write by hand for the gateway's main job: graphql-yoga, graphql-jit and undici.
// `node server.mjs PORT UPSTREAM`. It checks no credentials, limits nothing, and knows no failure but an error.
import { createServer } from 'node:http';
import { useGraphQlJit } from '@envelop/graphql-jit';
import { createSchema, createYoga } from 'graphql-yoga';
import { Pool } from 'undici';

const [port, upstream] = process.argv.slice(2);
const pool = new Pool(upstream, { connections: 128, pipelining: 1, keepAliveTimeout: 300_000 });

async function get(path) {
  const { statusCode, body } = await pool.request({ method: 'GET', path, headers: { accept: 'application/json' } });
  if (statusCode !== 200) {
    await body.dump();
    throw new Error(`the upstream answered ${statusCode}`);
  }
  return body.json();
}

const typeDefs = /* GraphQL */ `
  scalar JSON
  type Query {
    thread(id: ID!): Thread
  }
  type Thread {
    id: ID!
    status: Int
    messageCount: Int
    clientId: Int
    createdAt: String
    updatedAt: String
    contacts: [String!]!
    externalMessageIds: [String!]!
    reviewGroups: [String!]!
    tags: [String!]!
    attachments: [Attachment!]!
    customers: [Customer!]!
    lastMessage: Message
    reminder: Reminder
  }
  type Reminder {
    delay: Int
    nextDate: String
    numberLeft: Int
  }
  type Message {
    id: ID!
    agentId: Int
    attachments: [Attachment!]!
    bcc: String
    cc: String
    content: String
    createdAt: String
    delivery: String
    errorWhenTryingToSend: String
    externalMessageId: String
    from: String
    mailboxId: String
    origin: String
    priority: Int
    rawMessage: String
    readByAgents: [Int!]!
    replyToExternalMessageId: String
    subject: String
    to: String
  }
  type Attachment {
    id: ID!
    attachmentMovements: AttachmentMovements
    fileMime: String
    fileName: String
    fileNotDangerous: Boolean
    fileSize: Int
    fileType: String
  }
  type AttachmentMovements {
    total: Int
    movements: [AttachmentMovement!]!
  }
  type AttachmentMovement {
    agentId: Int
    customerId: String
    fileId: String
  }
  type Customer {
    id: ID!
    externalId: String
    accountNumber: String
    accountType: String
    clientId: String
    comment: String
    companyName: String
    contacts: String
    createdAt: String
    createdBy: Int
    customFields: JSON
    customerType: String
    dateOfBirth: String
    disabled: Boolean
    firstName: String
    lastName: String
    middleName: String
    nameVariations: [NameVariation!]!
    tradingName: String
  }
  type NameVariation {
    companyName: String
    firstName: String
    lastName: String
    middleName: String
    tradingName: String
  }
`;

// A field whose REST name is its own name needs no resolver.
const renamed = (...names) =>
  Object.fromEntries(
    names.map((name) => {
      const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      return [name, (parent) => parent[key]];
    }),
  );

const resolvers = {
  Query: { thread: (_, { id }) => get(`/api/v1/thread/${encodeURIComponent(id)}`) },
  Thread: renamed(
    'clientId', 'createdAt', 'externalMessageIds', 'lastMessage', 'messageCount', 'reviewGroups', 'updatedAt',
  ),
  Reminder: renamed('nextDate', 'numberLeft'),
  Message: renamed(
    'agentId', 'createdAt', 'errorWhenTryingToSend', 'externalMessageId', 'mailboxId', 'rawMessage', 'readByAgents',
    'replyToExternalMessageId',
  ),
  Attachment: renamed('attachmentMovements', 'fileMime', 'fileName', 'fileNotDangerous', 'fileSize', 'fileType'),
  AttachmentMovement: renamed('agentId', 'customerId', 'fileId'),
  Customer: renamed(
    'externalId', 'accountNumber', 'accountType', 'clientId', 'companyName', 'createdAt', 'createdBy', 'customFields',
    'customerType', 'dateOfBirth', 'firstName', 'lastName', 'middleName', 'nameVariations', 'tradingName',
  ),
  NameVariation: renamed('companyName', 'firstName', 'lastName', 'middleName', 'tradingName'),
};

const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers }),
  plugins: [useGraphQlJit()],
  graphiql: false,
  landingPage: false,
  logging: false,
});
createServer(yoga).listen(Number(port), '127.0.0.1');
