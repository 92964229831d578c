// The page: GraphiQL with the docs, the history, the explorer and, where the gateway explains, its REST calls.
import './nonce.js';
import './workers.js';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';
import './narrow.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { toolbar } from './copy.jsx';
import { fetcherFor } from './fetcher.js';
import { CallsLine, callsPlugin } from './panel.jsx';
import { PredictionLine } from './predicted.jsx';
import { SandboxLine, sandboxPlugin } from './sandbox.jsx';
import { LateSchema } from './schema.jsx';
import { openStorage } from './storage.js';
import { timelinePlugin } from './timeline.jsx';

const root = document.getElementById('graphiql');
const { query, tabs, ...flags } = root.dataset;
// A link can bring an operation: it is shown, and not run.
const asked = new URLSearchParams(location.search);
const shared = asked.has('query') ? { query: asked.get('query'), variables: asked.get('variables') ?? '' } : undefined;
const settings = { explain: flags.explain === 'true', authorization: flags.authorization === 'true' };

const fetcher = fetcherFor(settings);
const plugins = [HISTORY_PLUGIN, explorerPlugin(), ...(settings.explain ? [callsPlugin, timelinePlugin] : []), ...(flags.sandbox ? [sandboxPlugin] : [])];

createRoot(root).render(
  <GraphiQL
    defaultEditorToolsVisibility={settings.authorization ? 'headers' : undefined}
    defaultHeaders={settings.authorization ? '{\n  "Authorization": ""\n}' : undefined}
    defaultQuery={query}
    defaultTabs={[...(shared ? [shared] : []), { query }, ...JSON.parse(tabs)]}
    fetcher={fetcher}
    initialQuery={shared?.query}
    initialVariables={shared?.variables}
    inputValueDeprecation
    plugins={plugins}
    schemaDescription
    shouldPersistHeaders // a choice that the settings dialog offers, and that is off until it is taken
    storage={openStorage()}
  >
    <GraphiQL.Toolbar>{toolbar}</GraphiQL.Toolbar>
    <GraphiQL.Footer>
      <LateSchema />
      {settings.explain && <PredictionLine authorization={settings.authorization} />}
      {settings.explain && <CallsLine />}
      {flags.sandbox && <SandboxLine />}
    </GraphiQL.Footer>
  </GraphiQL>,
);
