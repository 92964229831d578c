// Sends GraphiQL's operations to the gateway that served the page, and nowhere else.
import { createGraphiQLFetcher } from '@graphiql/toolkit';

import { explaining } from './calls.js';
import { subscribing } from './subscriptions.js';

const NO_CREDENTIALS = {
  errors: [
    {
      message: 'Enter your `Authorization` under Headers; the schema and its docs come with the first operation you run.',
      extensions: { code: 'UNAUTHENTICATED' },
    },
  ],
};

function authorized(headers = {}) {
  return Object.entries(headers).some(([name, value]) => name.toLowerCase() === 'authorization' && value);
}

/** Answer GraphiQL's first request for the schema itself, where the gateway is known to refuse it. */
function patient(fetcher) {
  return (operation, options) =>
    operation.operationName === 'IntrospectionQuery' && !authorized(options?.headers)
      ? Promise.resolve(NO_CREDENTIALS)
      : fetcher(operation, options);
}

/** The fetcher for a page with these settings. */
export function fetcherFor({ explain, authorization }) {
  const plain = createGraphiQLFetcher({ url: location.pathname });
  const explained = subscribing(explain ? explaining(plain) : plain, explain);
  return authorization ? patient(explained) : explained;
}
