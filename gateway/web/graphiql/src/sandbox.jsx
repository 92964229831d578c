// The demo's sandbox: its faults, its webhooks, and a thread that changes, each at a click. No other gateway has the path
// that this asks.
import { useEffect, useSyncExternalStore } from 'react';

const HEADERS = { 'gateway-require-preflight': '1' };
const { sandbox: path } = document.getElementById('graphiql').dataset;

let seen = { state: null, problem: '' };
const listeners = new Set();

function show(change) {
  seen = { ...seen, ...change };
  for (const listener of listeners) listener();
}

function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

async function ask(options) {
  try {
    const response = await fetch(path, { headers: HEADERS, ...options });
    const body = await response.json();
    show(response.ok ? { state: body, problem: '' } : { problem: `The sandbox was not changed: ${body.error}.` });
  } catch {
    show({ problem: 'The sandbox was not changed: the demo does not answer.' });
  }
}

const choose = (wanted) => ask({ method: 'POST', body: JSON.stringify(wanted) });

/** The choices and which of them are in force, null before they are known; and why the last one failed. */
function useSandbox() {
  const { state, problem } = useSyncExternalStore(subscribe, () => seen);
  useEffect(() => {
    if (!seen.state) ask();
  }, []);
  return { state, problem };
}

const saysOf = (choices, chosen) =>
  choices.find(({ name }) => name === chosen)?.says ?? 'Chosen by one of the sandbox’s own routes.';

function Choices({ title, choices, chosen, onChoose }) {
  return (
    <div role="group" aria-label={title}>
      <div className="sandbox-title">{title}</div>
      <div className="sandbox-choices">
        {choices.map(({ name, says }) => (
          <button
            key={name}
            type="button"
            className="sandbox-choice"
            aria-pressed={chosen === undefined ? undefined : name === chosen}
            title={says}
            onClick={() => onChoose(name)}
          >
            {name}
          </button>
        ))}
      </div>
      {chosen !== undefined && (
        <p className="sandbox-hint" role="status">
          {saysOf(choices, chosen)}
        </p>
      )}
    </div>
  );
}

function Panel() {
  const { state, problem } = useSandbox();
  return (
    <section aria-label="Sandbox">
      <div className="graphiql-doc-explorer-title">Sandbox</div>
      <p className="sandbox-hint">The REST API behind this demo. A fault stays until another is chosen, or none.</p>
      {state && (
        <>
          <Choices title="Fault" choices={state.faults} chosen={state.fault} onChoose={(fault) => choose({ fault })} />
          <Choices
            title="How webhooks are posted"
            choices={state.deliveries}
            chosen={state.delivery}
            onChoose={(delivery) => choose({ delivery })}
          />
          <Choices title="Post a webhook" choices={state.webhooks} onChoose={(webhook) => choose({ webhook })} />
        </>
      )}
      <p role="alert">{problem}</p>
    </section>
  );
}

function Icon() {
  return (
    <svg height="1em" width="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <title>Sandbox</title>
      <path d="M4 9h16l-2 11H6zM8 9V4m4 5V3m4 6V5" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

/** The plugin; its icon stands in the sidebar. */
export const sandboxPlugin = { title: 'Sandbox', icon: Icon, content: Panel };

function InForce({ what, says, label, onEnd }) {
  return (
    <span className="sandbox-in-force">
      {what}: {says}{' '}
      <button type="button" className="sandbox-choice" onClick={onEnd}>
        {label}
      </button>
    </span>
  );
}

/** Below the result: a button that changes the watched thread, and what is in force, with a way back. */
export function SandboxLine() {
  const { state, problem } = useSandbox();
  return (
    <div className="sandbox-line">
      <button type="button" className="graphiql-button" onClick={() => choose({ change: true })}>
        Change thread th-1 in the sandbox
      </button>
      {state && state.fault !== 'none' && (
        <InForce
          what={`Fault ${state.fault ?? ''}`}
          says={saysOf(state.faults, state.fault)}
          label="End the fault"
          onEnd={() => choose({ fault: 'none' })}
        />
      )}
      {state && state.delivery !== 'ordinary' && (
        <InForce
          what={`Webhooks ${state.delivery ?? ''}`}
          says={saysOf(state.deliveries, state.delivery)}
          label="Post them as usual"
          onEnd={() => choose({ delivery: 'ordinary' })}
        />
      )}
      <span role="alert">{problem}</span>
    </div>
  );
}
