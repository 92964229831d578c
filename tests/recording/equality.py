"""Whether the answers to a query are equal, apart from what a recording replaces by invented values.

Structure, lengths of lists, nulls, booleans, statuses and errors are the same. A text or a number may be another one,
but always the same other one.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    parse,
)

from gateway.compat.strawberry import graphql_schema
from tests.execution.comparison import SCHEMA
from tests.recording.corpus import Query

CORE = graphql_schema(SCHEMA)
_TEXTS = {"ID", "String"}

Selections = list[tuple[Any, SelectionSetNode]]
"""Selections of one place, each with the object or union that it selects of."""


class Answer(NamedTuple):
    """The status and the body of a response."""

    status: int
    body: dict[str, Any]


class Equality:
    """Compares answers, and remembers what each value became. ``ids`` are the invented ids by the real ones."""

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._became: dict[str, dict[Any, Any]] = defaultdict(dict)
        self._became["text"].update(ids)

    def differences(self, query: Query, live: Answer, replayed: Answer) -> Iterator[str]:
        """Yield what is not equal."""
        if live.status != replayed.status or live.body.keys() != replayed.body.keys():
            yield f"{live.status} with {sorted(live.body)} became {replayed.status} with {sorted(replayed.body)}"
            return
        before, after = (sorted(self._errors(each)) for each in (live, replayed))
        if [text for text, _ in before] != [text for text, _ in after]:
            yield f"the errors {before} became {after}"
        for (_, codes), (_, others) in zip(before, after, strict=False):
            yield from self._leaves("code", "code", codes, others, "the REST API's codes")
        fields = _Fields(query)
        yield from self._compare(fields, fields.root, live.body.get("data"), replayed.body.get("data"), "data")

    def _errors(self, answer: Answer) -> Iterator[tuple[str, list[str]]]:
        """Yield each error without its request id, and the codes in it that are the REST API's own."""
        for error in answer.body.get("errors", ()):
            extensions = {**error["extensions"], "requestId": ""}
            upstream = dict(extensions.pop("upstream", {}))
            codes = list(upstream.pop("codes", []))
            yield json.dumps({**error, "extensions": [extensions, upstream]}), codes

    def _compare(self, fields: "_Fields", selections: Selections, live: Any, replayed: Any, path: str) -> Iterator[str]:
        if isinstance(live, list) and isinstance(replayed, list) and len(live) == len(replayed):
            for index, pair in enumerate(zip(live, replayed, strict=True)):
                yield from self._compare(fields, selections, *pair, f"{path}[{index}]")
        elif isinstance(live, dict) and isinstance(replayed, dict) and live.keys() == replayed.keys():
            known = fields.of(selections)
            for key in live:
                named, label, below = known[key]
                if below:
                    yield from self._compare(fields, below, live[key], replayed[key], f"{path}.{key}")
                else:
                    yield from self._leaves(named.name, label, live[key], replayed[key], f"{path}.{key}")
        elif live is not None or replayed is not None:
            yield f"{path}: {_kind(live)} became {_kind(replayed)}"

    def _leaves(self, kind: str, label: str, live: Any, replayed: Any, path: str) -> Iterator[str]:
        if type(live) is not type(replayed):
            yield f"{path}: {_kind(live)} became {_kind(replayed)}"
        elif kind == "JSON" or live is None:
            return  # of what the contract does not describe only the type is recorded
        elif isinstance(live, list):
            if len(live) != len(replayed):
                yield f"{path}: {len(live)} values became {len(replayed)}"
            for before, after in zip(live, replayed, strict=False):
                yield from self._leaves(kind, label, before, after, path)
        elif kind == "Boolean" or "__" in label:
            if live != replayed:
                yield f"{path}: {live!r} became {replayed!r}"
        elif self._became["text" if kind in _TEXTS else label].setdefault(live, replayed) != replayed:
            yield f"{path}: {live!r} became two values"


class _Fields:
    """The fields that a query selects, by their response keys."""

    def __init__(self, query: Query) -> None:
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self.root: Selections = []
        for node in parse(query.document).definitions:
            if isinstance(node, FragmentDefinitionNode):
                self._fragments[node.name.value] = node
            elif isinstance(node, OperationDefinitionNode):
                is_chosen = query.name is None or (node.name is not None and node.name.value == query.name)
                if is_chosen and CORE.query_type is not None:
                    self.root.append((CORE.query_type, node.selection_set))

    def of(self, selections: Selections) -> dict[str, tuple[GraphQLNamedType, str, Selections]]:
        """Return for each response key the type, the name of the field, and what is selected below."""
        found: dict[str, tuple[GraphQLNamedType, str, Selections]] = {}
        for parent, node in self._flat(selections):
            field = CORE.get_field(parent, node.name.value)
            assert field is not None
            named = get_named_type(field.type)
            key = node.alias.value if node.alias else node.name.value
            _, _, below = found.setdefault(key, (named, f"{parent.name}.{node.name.value}", []))
            if node.selection_set is not None:
                below.append((named, node.selection_set))
        return found

    def _flat(self, selections: Selections) -> Iterator[tuple[Any, FieldNode]]:
        for parent, selection_set in selections:
            for node in selection_set.selections:
                if isinstance(node, FieldNode):
                    yield parent, node
                    continue
                fragment = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
                assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode)
                condition = fragment.type_condition
                inner = parent if condition is None else CORE.type_map[condition.name.value]
                yield from self._flat([(inner, fragment.selection_set)])


def _kind(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
