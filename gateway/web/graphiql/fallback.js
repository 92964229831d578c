// The page where GraphiQL's assets were not built: an older GraphiQL from a CDN, without the explorer and the calls.
'use strict';

const { nonce } = document.querySelector('meta[property=csp-nonce]');
const createElement = Document.prototype.createElement;

// The same as src/nonce.js, which says why.
Document.prototype.createElement = function (name, ...options) {
  const element = createElement.call(this, name, ...options);
  if (String(name).toLowerCase() === 'style') element.nonce = nonce;
  return element;
};

addEventListener('DOMContentLoaded', () => {
  const root = document.getElementById('graphiql');
  if (!globalThis.GraphiQL) {
    root.textContent = 'GraphiQL cannot be loaded: the CDN is not reached, or what it sent is not what was expected.';
    return;
  }
  const { React, ReactDOM, GraphiQL } = globalThis;
  const { query, tabs, authorization, explain } = root.dataset;
  const headers = explain === 'true' ? { 'Gateway-Explain': '1' } : {};
  const asked = new URLSearchParams(location.search);
  const shared = asked.has('query') ? [{ query: asked.get('query'), variables: asked.get('variables') ?? '' }] : [];
  const properties = {
    defaultEditorToolsVisibility: authorization === 'true' ? 'headers' : undefined,
    defaultHeaders: authorization === 'true' ? '{\n  "Authorization": ""\n}' : undefined,
    defaultQuery: query,
    defaultTabs: [...shared, { query }, ...JSON.parse(tabs)],
    fetcher: GraphiQL.createFetcher({ url: location.pathname, headers }),
    inputValueDeprecation: true,
    storage: null, // this GraphiQL would keep credentials with its history
  };
  ReactDOM.createRoot(root).render(React.createElement(GraphiQL, properties));
});
