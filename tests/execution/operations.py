"""A strategy for valid operations over the whole schema, with values for their variables."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLUnionType, get_named_type, is_leaf_type
from hypothesis import strategies as st

from gateway.compat.strawberry import graphql_schema
from gateway.execution.operation import Operation
from gateway.schema.resolvers.links import link_of
from tests.execution.comparison import SCHEMA

TYPES = {
    name: each
    for name, each in graphql_schema(SCHEMA).type_map.items()
    if isinstance(each, GraphQLObjectType) and not name.startswith("_")
}
ALIASES = ["class", "None", "out", "document", "wait", "v_1", "id", "tags", "f", "self", "__x", "step_1"]
IDS = ["1", "2", "é/ü", "missing"]
CUSTOMERS = ["e-1", "e-2", "missing"]
CURSORS = ["b2Zmc2V0OjE5", "b2Zmc2V0OjI=", "b2Zmc2V0OjU=", "nonsense", ""]
_MAX_FIELDS = 20
_MAX_LINK_DEPTH = 3

Draw = Callable[[st.SearchStrategy[Any]], Any]


def _one_in(draw: Draw, count: int) -> bool:
    return bool(draw(st.integers(0, count - 1)) == count - 1)


@dataclass(slots=True)
class Writer:
    """Writes one document, with the variables and the fragments that its fields use."""

    draw: Draw
    is_careful: bool
    """Whether the variables have values of their types."""
    variables: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    left: int = _MAX_FIELDS

    def document(self) -> Operation:
        body = self.selection(TYPES["Query"], 0)
        declared = ", ".join(f"${name}: {of}" for name, of in self.variables.items())
        head = f"query Q({declared}) " if declared else self.draw(st.sampled_from(["", "query Q "]))
        parts = [head + body, *(f"fragment {name} on {of} {text}" for name, (of, text) in self.fragments.items())]
        if _one_in(self.draw, 10) and head:
            parts.append("query Other { __typename }")
        values = {name: value for name, value in self.values.items() if self.is_careful or not _one_in(self.draw, 6)}
        return Operation("\n".join(parts), "Q" if head else None, values)

    def selection(self, of: GraphQLObjectType, depth: int) -> str:
        count = self.draw(st.integers(1, 5))
        parts = [self.part(of, depth) for _ in range(count)]
        return "{ " + " ".join(parts) + " }"

    def part(self, of: GraphQLObjectType, depth: int) -> str:
        kind = self.draw(st.integers(0, 11))
        self.left -= 1
        if kind == 0 and self.left > 0:
            condition = self.draw(st.sampled_from(["", f"on {of.name}"]))
            return f"... {condition} {self.directive()} {self.selection(of, depth)}"
        if kind == 1 and self.left > 0:
            return f"...{self.fragment(of, depth)} {self.directive()}"
        if kind == 2:
            return f"{self.draw(st.sampled_from(['', 't: ']))}__typename {self.directive()}"
        return self.field(of, depth)

    def field(self, of: GraphQLObjectType, depth: int) -> str:
        fields = {name: each for name, each in of.fields.items() if name != "_service"}
        if self.left <= 0 or depth >= _MAX_LINK_DEPTH:
            fields = {name: each for name, each in fields.items() if link_of(each) is None} or fields
        if self.left <= 0:
            fields = {name: each for name, each in fields.items() if is_leaf_type(get_named_type(each.type))} or fields
        name = self.draw(st.sampled_from(sorted(fields)))
        arguments = self.arguments(name, fields[name])
        alias = self.alias(of, name, arguments)
        below = self.below(fields[name], depth + (link_of(fields[name]) is not None))
        return f"{alias}{name}{arguments} {self.directive()} {below}"

    def alias(self, of: GraphQLObjectType, name: str, arguments: str) -> str:
        """Return an alias or nothing; one response key never selects two fields, so that the document is valid."""
        meaning = (of.name, name, arguments)
        alias = self.draw(st.sampled_from(ALIASES)) if _one_in(self.draw, 4) else name
        if self.aliases.setdefault(alias, meaning) != meaning and (alias != name or arguments):
            alias = f"{name}_{of.name}_{len(arguments)}_{sum(arguments.encode())}"
        return "" if alias == name else f"{alias}: "

    def below(self, of: GraphQLField, depth: int) -> str:
        named = get_named_type(of.type)
        if isinstance(named, GraphQLObjectType):
            return self.selection(named, depth)
        if isinstance(named, GraphQLUnionType):
            parts = [
                f"... on {each.name} {self.selection(each, depth)}" for each in named.types if not _one_in(self.draw, 4)
            ]
            return "{ __typename " + " ".join(parts) + " }"
        return ""

    def fragment(self, of: GraphQLObjectType, depth: int) -> str:
        known = [name for name, (type_name, _) in self.fragments.items() if type_name == of.name]
        if known and _one_in(self.draw, 2):
            return str(self.draw(st.sampled_from(known)))
        text = self.selection(of, max(depth, 1))
        name = f"F{len(self.fragments)}"
        self.fragments[name] = (of.name, text)
        return name

    def directive(self) -> str:
        if not _one_in(self.draw, 8):
            return ""
        name = self.draw(st.sampled_from(["skip", "include"]))
        condition = self.draw(st.sampled_from(["true", "false", "$b0", "$b1", "$b2"]))
        if condition.startswith("$"):
            declared = self.draw(st.sampled_from(["Boolean!", "Boolean = true", "Boolean! = false"]))
            self.declare(
                condition[1:], declared, st.booleans() if self.is_careful else st.sampled_from([True, False, None, 1])
            )
        return f"@{name}(if: {condition})"

    def arguments(self, name: str, of: GraphQLField) -> str:
        if not of.args:
            return ""  # such as `MessageOutcome.thread`
        match name:
            case "thread":
                return f"(id: {self.argument('ID!', st.sampled_from([*IDS, 1]))})"
            case "customer":
                return f"(externalId: {self.argument('ID!', st.sampled_from(CUSTOMERS))})"
            case "threads":
                return f"(ids: {self.argument('[ID!]!', st.lists(st.sampled_from(IDS), max_size=3))})"
            case "_entities":
                return f"(representations: {self.argument('[_Any!]!', st.lists(REPRESENTATIONS, max_size=3))})"
            case "messages" | "messageOutcome":
                return self.page_arguments() if name == "messages" else self.key_arguments()
        raise LookupError(f"say here which values the arguments of {name} have")

    def key_arguments(self) -> str:
        thread, key = self.argument("ID!", st.sampled_from(IDS)), self.argument("String!", st.just("key"))
        return f"(threadId: {thread}, idempotencyKey: {key})"

    def page_arguments(self) -> str:
        given = []
        sizes = st.sampled_from([1, 2, 3, 3, 100, None, 101, 0])
        for name, of, one_in, values in (
            ("first", "Int", 3, sizes),
            ("last", "Int", 3, sizes),
            ("after", "String", 4, st.sampled_from([*CURSORS, None])),
            ("before", "String", 4, st.sampled_from([*CURSORS, None])),
        ):
            if _one_in(self.draw, one_in):
                given.append(f"{name}: {self.argument(of, values)}")
        return f"({', '.join(given)})" if given else ""

    def argument(self, of: str, values: st.SearchStrategy[Any]) -> str:
        if _one_in(self.draw, 2):
            return literal(self.draw(values))
        name = f"v{len(self.variables)}"
        self.declare(
            name, of, values if self.is_careful else st.one_of(values, st.sampled_from([None, True, 1.5, "text"]))
        )
        return f"${name}"

    def declare(self, name: str, of: str, values: st.SearchStrategy[Any]) -> None:
        if name not in self.variables:
            self.variables[name] = of
            self.values[name] = self.draw(values)


REPRESENTATIONS = st.one_of(
    st.builds(lambda key: {"__typename": "Thread", "id": key}, st.sampled_from(IDS)),
    st.builds(lambda key: {"__typename": "Customer", "externalId": key}, st.sampled_from(CUSTOMERS)),
    st.builds(lambda key: {"__typename": "Thread", "id": key}, st.sampled_from([*IDS, 1])),
    st.builds(lambda key: {"__typename": "Customer", "externalId": key}, st.sampled_from(CUSTOMERS)),
    st.sampled_from(
        [{"__typename": "Message", "id": "m"}, {"__typename": "Thread"}, {}, 1, {"__typename": "Thread", "id": True}]
    ),
)


def literal(value: Any) -> str:
    """Return a JSON value as a GraphQL literal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value)


@st.composite
def operations(draw: Draw) -> Operation:
    """Any query; validation refuses a few of them."""
    return Writer(draw, not _one_in(draw, 6)).document()
