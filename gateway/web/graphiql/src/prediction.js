// Asks the gateway which REST calls an operation is predicted to make (`/graphql/explain`). No call is made for it.
import { parse } from 'graphql';

const KEPT = 20;
const kept = new Map();

const keyOf = ({ query, operationName, variables }, headers) =>
  JSON.stringify([query, operationName ?? null, variables ?? {}, headers ?? {}]);

async function ask({ query, operationName, variables }, headers) {
  try {
    const response = await fetch(`${location.pathname}/explain`, {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query, operationName, variables }),
    });
    return await response.json();
  } catch {
    return { errors: [{ message: 'The gateway does not answer.' }] };
  }
}

/** Return the gateway's prediction, with `errors` where there is none. The last ones are kept. */
export function predict(operation, headers) {
  const key = keyOf(operation, headers);
  if (!kept.has(key)) {
    const answer = ask(operation, headers);
    kept.set(key, answer);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    answer.then(({ cost }) => cost || kept.delete(key)); // what was refused may be accepted the next time
  }
  return kept.get(key);
}

/** Return the operation that would run, or why there is none: `{ operation }` or `{ problem }`. */
export function operationOf(query, variablesText, chosen) {
  if (!query.trim()) return { problem: 'The editor is empty.' };
  let document;
  try {
    document = parse(query);
  } catch {
    return { problem: 'The operation is not complete.' };
  }
  const names = document.definitions.filter((each) => each.kind === 'OperationDefinition').map((each) => each.name?.value);
  if (!names.length) return { problem: 'The document has no operation.' };
  try {
    const variables = variablesText.trim() ? JSON.parse(variablesText) : undefined;
    const operationName = names.includes(chosen) ? chosen : names[0];
    return { operation: { query, operationName, variables } };
  } catch {
    return { problem: 'The variables are not JSON.' };
  }
}
