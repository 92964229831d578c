// Writes fallback.json: the files that a page without built assets loads from a CDN, with the hashes of the files that
// the npm packages hold. `npm run fallback` after a change of FILES; `-- --check` only says whether it is true.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// GraphiQL 5 and React 19 have no files that a browser can load as they are; these are the last that do.
const FILES = [
  ['react', '18.3.1', 'umd/react.production.min.js'],
  ['react-dom', '18.3.1', 'umd/react-dom.production.min.js'],
  ['graphiql', '4.1.2', 'graphiql.min.js'],
  ['graphiql', '4.1.2', 'graphiql.min.css'],
];
const TARGET = new URL('fallback.json', import.meta.url);

function packed(name, version, folder) {
  const output = execFileSync('npm', ['pack', '--json', `${name}@${version}`], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] });
  const described = JSON.parse(output);
  const { filename } = Array.isArray(described) ? described[0] : Object.values(described)[0];
  return join(folder, filename);
}

function integrity([name, version, path], folder) {
  const bytes = execFileSync('tar', ['-xzOf', packed(name, version, folder), `package/${path}`], { maxBuffer: 64 << 20 });
  return `sha384-${createHash('sha384').update(bytes).digest('base64')}`;
}

const folder = mkdtempSync(join(tmpdir(), 'graphiql-'));
try {
  const files = FILES.map((file) => ({ file: `${file[0]}@${file[1]}/${file[2]}`, integrity: integrity(file, folder) }));
  const text = `${JSON.stringify(files, null, 2)}\n`;
  if (!process.argv.includes('--check')) writeFileSync(TARGET, text);
  else if (readFileSync(TARGET, 'utf8') !== text) throw new Error(`fallback.json should be:\n${text}`);
} finally {
  rmSync(folder, { recursive: true });
}
