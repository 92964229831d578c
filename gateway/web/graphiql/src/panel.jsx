// Shows the REST calls of an operation: those that are predicted, those that were made, and when each took place.
import { lastRun } from './calls.js';
import { Fields } from './fields.jsx';
import { Predicted } from './predicted.jsx';

function Icon() {
  return (
    <svg height="1em" width="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <title>REST calls</title>
      <path d="M3 7h14m0 0-4-4m4 4-4 4M21 17H7m0 0 4-4m-4 4 4 4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

const duration = (ms) => (ms < 1000 ? `${ms} ms` : `${Number((ms / 1000).toPrecision(3))} s`);

const SOURCES = { fetched: 'REST', coalesced: 'shared with another call', cached: 'cache', stale: 'cache, out of date' };

function resultOf({ status, code, circuit, problem, ms }) {
  if (circuit === 'open') return 'circuit open: the route keeps failing and gets a pause';
  if (code === 'UPSTREAM_TIMEOUT') return `timed out after ${duration(ms)}`;
  if (code === 'cancelled') return 'cancelled';
  if (status === null) return problem ?? 'no response';
  if (status === 404) return 'not found';
  return status < 400 ? `${status}` : `failed with ${status}`;
}

const isFailure = ({ status }) => status === null || (status >= 400 && status !== 404);

function factsOf(call) {
  const { attempts, source, ageSeconds } = call;
  const from = ageSeconds === undefined ? SOURCES[source] : `${SOURCES[source]}, ${ageSeconds} s old`;
  return [resultOf(call), attempts === 1 ? '1 attempt' : attempts > 1 && `${attempts} attempts`, from].filter(Boolean);
}

function Bar({ call: { startMs = 0, ms }, whole }) {
  const place = { marginLeft: `${(startMs / whole) * 100}%`, width: `${(ms / whole) * 100}%` };
  return (
    <div className="call-track" aria-hidden="true">
      <i style={place} />
    </div>
  );
}

function Call({ call, whole }) {
  const { method, route, path = route, startMs, ms, fields = [], moreFields } = call;
  return (
    <tr className={isFailure(call) ? 'calls-failed' : undefined}>
      <th scope="row">
        <Fields label={`${method} ${path}`} says="feeds" paths={fields} more={moreFields} />
        <div className="call-facts">{factsOf(call).join(' · ')}</div>
      </th>
      <td>
        <div>
          {duration(ms)}
          {startMs !== undefined && `, from ${duration(startMs)}`}
        </div>
        <Bar call={call} whole={whole} />
      </td>
    </tr>
  );
}

function Waterfall({ run: { calls, moreCalls } }) {
  const whole = Math.max(...calls.map(({ startMs = 0, ms }) => startMs + ms), 0.1);
  return (
    <>
      <table className="calls-table calls-waterfall">
        <thead>
          <tr>
            <th scope="col">Call</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody>
          {calls.map((call, index) => (
            <Call key={index} call={call} whole={whole} />
          ))}
        </tbody>
      </table>
      {moreCalls > 0 && <p className="calls-hint">And {moreCalls} more.</p>}
    </>
  );
}

function Panel() {
  const run = lastRun.use();
  return (
    <section aria-label="REST calls">
      <div className="graphiql-doc-explorer-title">REST calls</div>
      <Predicted />
      <section aria-label="Last run">
        <h3 className="calls-title">Last run</h3>
        {!run && <p className="calls-hint">Run an operation to see its calls.</p>}
        {run?.calls.length === 0 && <p className="calls-hint">None: this operation needed no call.</p>}
        {run?.calls.length > 0 && <Waterfall run={run} />}
      </section>
    </section>
  );
}

/** The plugin; its icon stands in the sidebar. */
export const callsPlugin = { title: 'REST calls', icon: Icon, content: Panel };

/** One line for all calls. */
export function CallsLine() {
  const run = lastRun.use();
  if (run === null) return null;
  const { calls } = run;
  const fetched = calls.filter((call) => call.source === 'fetched');
  const slowest = Math.max(0, ...calls.map((call) => call.ms));
  const plural = calls.length === 1 ? '' : 's';
  return (
    <span className="calls-line" role="status">
      {calls.length} REST call{plural}
      {calls.length > 0 && `, ${fetched.length} fetched, the slowest in ${duration(slowest)}`}
    </span>
  );
}
