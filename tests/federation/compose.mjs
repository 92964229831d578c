// Composes graphs with three composers. Standard input: a list of graphs, each a list of {name, url, sdl}; output: for
// each graph what each composer makes of it, as {composer: {supergraph, errors, hints}}.
import { readFileSync } from "node:fs";
import { composeServices as apollo } from "@apollo/composition";
import { composeServices as guild } from "@theguild/federation-composition";
import { ROUTER_COMPATIBILITY_VERSION_ONE, federateSubgraphs } from "@wundergraph/composition";
import { parse, print } from "graphql";

const said = ({ message, extensions, definition }) => `${extensions?.code ?? definition?.code}: ${message}`;

function outcome(compose, subgraphs) {
  const services = subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));
  const { supergraphSdl, errors = [], hints = [] } = compose(services);
  return { supergraph: supergraphSdl ?? null, errors: errors.map(said), hints: hints.map(said) };
}

function cosmo(subgraphs) {
  const { success, federatedGraphAST, errors = [], warnings } = federateSubgraphs({
    subgraphs: subgraphs.map(({ name, url, sdl }) => ({ name, url, definitions: parse(sdl) })),
    version: ROUTER_COMPATIBILITY_VERSION_ONE,
  });
  const texts = (list) => list.map(({ message }) => message);
  return { supergraph: success ? print(federatedGraphAST) : null, errors: texts(errors), hints: texts(warnings) };
}

const graphs = JSON.parse(readFileSync(0, "utf8"));
const outcomes = graphs.map((graph) => ({
  apollo: outcome(apollo, graph),
  guild: outcome(guild, graph),
  cosmo: cosmo(graph),
}));
console.log(JSON.stringify(outcomes));
