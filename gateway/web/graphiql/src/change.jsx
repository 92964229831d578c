// A button that changes a thread in the demo's sandbox, so that a subscription to it shows the change.
import { useState } from 'react';

export function ChangeButton({ path }) {
  const [problem, setProblem] = useState('');

  async function change() {
    const headers = { 'gateway-require-preflight': '1' };
    const response = await fetch(path, { method: 'POST', headers }).catch(() => undefined);
    setProblem(response?.ok ? '' : ` The thread was not changed: ${response?.status ?? 'no answer'}.`);
  }

  return (
    <div className="change">
      <button type="button" className="graphiql-button" onClick={change}>
        Change thread th-1 in the sandbox
      </button>
      <span role="alert">{problem}</span>
    </div>
  );
}
