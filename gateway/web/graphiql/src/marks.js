// Marks the fields of a REST call in the query editor.
import { parse } from 'graphql';

/** Return the nodes of the fields at a path of response keys, through fragments, in any operation of the document. */
function fieldsAt(document, path) {
  const fragments = new Map();
  let sets = [];
  for (const each of document.definitions) {
    if (each.kind === 'FragmentDefinition') fragments.set(each.name.value, each);
    else if (each.kind === 'OperationDefinition') sets.push(each.selectionSet);
  }
  let found = [];
  for (const key of path) {
    found = sets.flatMap((set) => fieldsIn(set, fragments, new Set())).filter((each) => (each.alias ?? each.name).value === key);
    sets = found.flatMap((each) => each.selectionSet ?? []);
  }
  return found;
}

function fieldsIn({ selections }, fragments, entered) {
  return selections.flatMap((each) => {
    if (each.kind === 'Field') return [each];
    if (each.kind === 'InlineFragment') return fieldsIn(each.selectionSet, fragments, entered);
    const fragment = fragments.get(each.name.value);
    if (!fragment || entered.has(fragment)) return [];
    entered.add(fragment);
    return fieldsIn(fragment.selectionSet, fragments, entered);
  });
}

const collections = new WeakMap();

/** Mark the fields at these paths, and no others; return their ranges. */
export function markFields(editor, paths) {
  const model = editor?.getModel();
  if (!model) return [];
  let nodes = [];
  try {
    const document = parse(model.getValue());
    nodes = paths.flatMap((path) => fieldsAt(document, path));
  } catch {
    // It was changed since, and cannot be read any more: there is nothing to mark.
  }
  const ranges = nodes.map(({ loc, name }) => {
    const [start, end] = [model.getPositionAt(loc.start), model.getPositionAt(name.loc.end)];
    return { startLineNumber: start.lineNumber, startColumn: start.column, endLineNumber: end.lineNumber, endColumn: end.column };
  });
  const decorations = ranges.map((range) => ({ range, options: { inlineClassName: 'call-mark', isWholeLine: false } }));
  const known = collections.get(editor);
  if (known) known.set(decorations);
  else collections.set(editor, editor.createDecorationsCollection(decorations));
  return ranges;
}
