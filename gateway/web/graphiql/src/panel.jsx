// Shows the REST calls of the last operation: a plugin with one entry per call, and a line below the result.
import { useCalls } from './calls.js';

function Icon() {
  return (
    <svg height="1em" width="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <title>REST calls</title>
      <path d="M3 7h14m0 0-4-4m4 4-4 4M21 17H7m0 0 4-4m-4 4 4 4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

function Call({ call }) {
  const { route, status, ms, attempts, source, ageSeconds } = call;
  const facts = [
    status ?? 'no answer',
    `${ms} ms`,
    attempts === 1 ? '1 attempt' : `${attempts} attempts`,
    ageSeconds === undefined ? source : `${source}, ${ageSeconds} s old`,
  ];
  return (
    <li className={status === null || status >= 400 ? 'calls-failed' : undefined}>
      <code>{route}</code>
      <div>{facts.join(' · ')}</div>
    </li>
  );
}

function Panel() {
  const calls = useCalls();
  return (
    <section aria-label="REST calls">
      <div className="graphiql-doc-explorer-title">REST calls</div>
      <p className="calls-hint">What the last operation asked of the REST API, in the order the answers came.</p>
      {calls === null && <p>Run an operation to see its calls.</p>}
      {calls?.length === 0 && <p>None: this operation needed no call.</p>}
      <ol className="calls">
        {calls?.map((call, index) => (
          <Call key={index} call={call} />
        ))}
      </ol>
    </section>
  );
}

/** The plugin; its icon stands in the sidebar. */
export const callsPlugin = { title: 'REST calls', icon: Icon, content: Panel };

/** One line for all calls. */
export function CallsLine() {
  const calls = useCalls();
  if (calls === null) return null;
  const fetched = calls.filter((call) => call.source === 'fetched');
  const slowest = Math.max(0, ...calls.map((call) => call.ms));
  const plural = calls.length === 1 ? '' : 's';
  return (
    <span className="calls-line" role="status">
      {calls.length} REST call{plural}
      {calls.length > 0 && `, ${fetched.length} fetched, the slowest in ${slowest} ms`}
    </span>
  );
}
