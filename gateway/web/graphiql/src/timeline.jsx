// Shows for each result of a subscription what led to it, and when: `extensions.timeline` (GATEWAY_EXPLAIN).
import { useSyncExternalStore } from 'react';

const MOST = 20;

let results = null;
const listeners = new Set();

function tell(change) {
  results = change;
  for (const listener of listeners) listener();
}

function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Forget the results of the last subscription, when another begins. */
export function beginTimeline() {
  tell([]);
}

/** Keep the timeline of a result, and return the result as a client that did not ask for it would see it. */
export function takeTimeline(result) {
  const { timeline, ...others } = result.extensions ?? {};
  if (!timeline) return result;
  const shown = { moment: 'shown', at: new Date().toISOString() };
  tell([{ ...timeline, moments: [...timeline.moments, shown] }, ...results].slice(0, MOST));
  const { extensions, ...rest } = result;
  return Object.keys(others).length ? { ...rest, extensions: others } : rest;
}

// The gateway writes microseconds, of which a Date keeps milliseconds only.
function millisecondsOf(at) {
  const [, fraction = ''] = /\.(\d+)Z$/.exec(at) ?? [];
  return Math.floor(Date.parse(at) / 1000) * 1000 + Number(`0.${fraction || 0}`) * 1000;
}

const TIME = { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false };
const time = (at) => new Date(at).toLocaleTimeString([], TIME);

function Moments({ moments }) {
  const times = moments.map(({ at }) => millisecondsOf(at));
  const [first] = times;
  const whole = Math.max(times.at(-1) - first, 0.001);
  return (
    <table className="timeline-moments">
      <tbody>
        {moments.map(({ moment, at }, index) => (
          <tr key={moment}>
            <th scope="row">{moment}</th>
            <td className="timeline-time">{time(at)}</td>
            <td className="timeline-after">+{(times[index] - first).toFixed(1)} ms</td>
            <td className="timeline-track" aria-hidden="true">
              <i style={{ marginLeft: `${Math.min(100, Math.max(0, ((times[index] - first) / whole) * 100))}%` }} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Panel() {
  const seen = useSyncExternalStore(subscribe, () => results);
  return (
    <section aria-label="Timeline">
      <div className="graphiql-doc-explorer-title">Timeline</div>
      <p className="calls-hint">
        What led to each result of the last subscription, the newest first. The last line is the browser’s clock.
      </p>
      {!seen?.length && <p>Run a subscription to see its results arrive.</p>}
      <ol className="timeline" aria-live="polite">
        {seen?.map((each, index) => (
          <li key={seen.length - index}>
            <code>{each.cause}</code>
            <Moments moments={each.moments} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function Icon() {
  return (
    <svg height="1em" width="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <title>Timeline</title>
      <path d="M12 7v5l3.5 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

/** The plugin; its icon stands in the sidebar. */
export const timelinePlugin = { title: 'Timeline', icon: Icon, content: Panel };
