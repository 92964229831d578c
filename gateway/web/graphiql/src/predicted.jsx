// Predicts the REST calls of the operation in the editor whenever that or its variables change, and shows them by route
// beside those that were made.
import { useGraphiQL } from '@graphiql/react';
import { useEffect } from 'react';

import { lastHeaders, lastRun } from './calls.js';
import { Fields } from './fields.jsx';
import { operationOf, predict } from './prediction.js';
import { createStore } from './store.js';

const IDLE_MILLISECONDS = 300;

/** What the editor has: `{ operation, answer }`, or the `problem` why nothing is predicted. */
const current = createStore({ problem: 'Nothing is predicted yet.' });

const plural = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`;

/** Keeps the prediction up to date, and shows its sum in a line. `authorization`: only with headers that were sent. */
export function PredictionLine({ authorization }) {
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const chosen = useGraphiQL((state) => state.operationName);
  const headers = lastHeaders.use();
  const { answer } = current.use();

  useEffect(() => {
    if (!queryEditor || !variableEditor) return undefined;
    let timer;
    let latest;

    async function update() {
      const asked = operationOf(queryEditor.getValue(), variableEditor.getValue(), chosen);
      latest = asked;
      if (authorization && !headers) asked.problem ??= 'Run an operation first: its headers are used for predictions.';
      current.set(asked.problem ? { problem: asked.problem } : { operation: asked.operation, answer: current.get().answer });
      if (asked.problem) return;
      const answer = await predict(asked.operation, headers);
      if (latest === asked) current.set({ operation: asked.operation, answer });
    }

    function later() {
      clearTimeout(timer);
      timer = setTimeout(update, IDLE_MILLISECONDS);
    }

    later();
    const editors = [queryEditor, variableEditor];
    const watched = editors.flatMap((each) => [each.onDidChangeModelContent(later), each.onDidChangeModel(later)]);
    return () => {
      latest = undefined;
      clearTimeout(timer);
      watched.forEach((each) => each.dispose());
    };
  }, [queryEditor, variableEditor, chosen, headers, authorization]);

  if (!answer?.cost) return null;
  return <span className="calls-line">Predicted: {plural(answer.cost.predicted, 'REST call')} at most</span>;
}

const isSame = (one, other) =>
  one && other && one.query === other.query && JSON.stringify(one.variables ?? {}) === JSON.stringify(other.variables ?? {});

const routeOf = ({ method, route }) => `${method} ${route}`;

/** By route, how many calls were predicted and made; `made` is null where the operation was not run. */
function compared(answer, run) {
  const rows = new Map(answer.calls.map((call) => [routeOf(call), { ...call, made: run ? 0 : null, saved: 0 }]));
  for (const call of run?.calls ?? []) {
    const row = rows.get(routeOf(call)) ?? { ...call, predicted: 0, fields: [], made: 0, saved: 0 };
    row.made += 1;
    row.saved += call.source !== 'fetched';
    rows.set(routeOf(call), row);
  }
  return [...rows.values()];
}

function difference({ predicted, made }) {
  if (made === null || made === predicted) return '';
  return made < predicted ? `${predicted - made} fewer` : `${made - predicted} more`;
}

function Made({ row }) {
  if (row.made === null) return <td>–</td>;
  const differs = difference(row);
  return (
    <td className={differs ? 'calls-differ' : undefined}>
      {row.made}
      {differs && <div>{differs}</div>}
      {row.saved > 0 && <div>{row.saved} cached or shared</div>}
    </td>
  );
}

function Cost({ answer: { cost, firstResults, operation } }) {
  const more = cost.orMore ? ' or more' : '';
  return (
    <p className="calls-hint">
      {cost.predicted}
      {more} in all{cost.mode === 'enforce' && `; at most ${cost.limit} are allowed`}.
      {operation.type === 'subscription' && ` For each result; it begins with ${plural(firstResults, 'result')}.`}
      {operation.type === 'mutation' && ' With the reads that a write needs if its outcome is in doubt.'}
    </p>
  );
}

/** The table of the routes. */
export function Predicted() {
  const { operation, answer, problem } = current.use();
  const run = lastRun.use();
  const isRun = isSame(operation, run?.operation);
  const rows = answer?.cost ? compared(answer, isRun ? run : null) : [];
  return (
    <section aria-label="Prediction">
      <h3 className="calls-title">Predicted{isRun && ' and made'}</h3>
      {problem && <p className="calls-hint">{problem}</p>}
      {!problem && answer?.errors?.map(({ message }, index) => (
        <p key={index} className="calls-failed">
          {message}
        </p>
      ))}
      {!problem && answer?.cost && (
        <>
          <Cost answer={answer} />
          {rows.length > 0 && (
            <table className="calls-table">
              <thead>
                <tr>
                  <th scope="col">Route</th>
                  <th scope="col">Predicted</th>
                  <th scope="col">Made</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={routeOf(row)}>
                    <th scope="row">
                      <Fields label={routeOf(row)} says="caused by" paths={row.fields.map(({ path }) => path)} />
                    </th>
                    <td>{row.predicted}</td>
                    <Made row={row} />
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {rows.some((row) => row.made < row.predicted && row.made !== null) && (
            <p className="calls-hint">
              A list in a response counts as {answer.cost.listSize} items. What does not exist, fails or is the same as
              something else needs fewer calls.
            </p>
          )}
        </>
      )}
    </section>
  );
}
