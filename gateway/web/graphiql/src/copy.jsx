// Copies the operation as a command for curl, or as a test for pytest.
import { pick, ToolbarButton, useGraphiQL } from '@graphiql/react';

const url = () => location.origin + location.pathname;

function parsed(text) {
  try {
    return text.trim() ? JSON.parse(text) : undefined;
  } catch {
    return undefined; // the gateway says what is wrong with the query alone
  }
}

/** Quote a text for a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function asCurl({ query, variables, headers }) {
  const lines = [`curl -s ${quoted(url())}`, `-H 'content-type: application/json'`];
  for (const [name, value] of Object.entries(headers ?? {})) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  lines.push(`-d ${quoted(JSON.stringify({ query, variables }))}`);
  return `${lines.join(' \\\n  ')}\n`;
}

function asPytest({ query, variables, headers }) {
  const json = JSON.stringify(JSON.stringify({ query, variables }));
  const given = headers ? `, headers=json.loads(${JSON.stringify(JSON.stringify(headers))})` : '';
  return `import json

import httpx


def test_the_operation():
    response = httpx.post(${JSON.stringify(url())}, json=json.loads(${json})${given})
    assert response.status_code == 200
    assert "errors" not in response.json()
`;
}

function Icon({ letter }) {
  return (
    <svg className="graphiql-toolbar-icon" viewBox="0 0 24 24" aria-hidden="true">
      <text x="12" y="17" textAnchor="middle" fontSize="15" fill="currentColor">
        {letter}
      </text>
    </svg>
  );
}

function CopyButton({ label, letter, write }) {
  const { queryEditor, variableEditor, headerEditor } = useGraphiQL(
    pick('queryEditor', 'variableEditor', 'headerEditor'),
  );

  function copy() {
    const query = queryEditor?.getValue() ?? '';
    const variables = parsed(variableEditor?.getValue() ?? '');
    navigator.clipboard.writeText(write({ query, variables, headers: parsed(headerEditor?.getValue() ?? '') }));
  }

  return (
    <ToolbarButton onClick={copy} label={label}>
      <Icon letter={letter} />
    </ToolbarButton>
  );
}

/** The toolbar's own buttons, and one for each form. */
export const toolbar = ({ prettify, merge, copy }) => (
  <>
    {prettify}
    {merge}
    {copy}
    <CopyButton label="Copy as curl" letter="$" write={asCurl} />
    <CopyButton label="Copy as pytest" letter="✓" write={asPytest} />
  </>
);
