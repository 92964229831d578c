// Composes graphs with both composers. Standard input: a list of graphs, each a list of {name, url, sdl}; output: for
// each graph what each composer makes of it, as {composer: {supergraph, errors, hints}}.
import { readFileSync } from "node:fs";
import { composeServices as apollo } from "@apollo/composition";
import { composeServices as guild } from "@theguild/federation-composition";
import { parse } from "graphql";

const said = ({ message, extensions, definition }) => `${extensions?.code ?? definition?.code}: ${message}`;

function outcome(compose, subgraphs) {
  const services = subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));
  const { supergraphSdl, errors = [], hints = [] } = compose(services);
  return { supergraph: supergraphSdl ?? null, errors: errors.map(said), hints: hints.map(said) };
}

const graphs = JSON.parse(readFileSync(0, "utf8"));
const outcomes = graphs.map((graph) => ({ apollo: outcome(apollo, graph), guild: outcome(guild, graph) }));
console.log(JSON.stringify(outcomes));
