"""Merged, the parts of an incremental response are the whole response, wherever `@defer` and `@stream` are."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import pytest
from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLList,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_nullable_type,
    parse,
    print_ast,
    visit,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.compat.strawberry import graphql_schema
from gateway.execution.engine import Engine, EngineOptions
from gateway.execution.operation import Operation
from gateway.schema import build_schema
from tests.execution.comparison import Reply, run_in_parts
from tests.execution.operations import TYPES, Draw, Writer
from tests.execution.test_plan_equals_reference import PROPERTY
from tests.execution.worlds import well_formed
from tests.harness import rest_response
from tests.web.test_incremental import applied, applied_by_id, errors_of

SCHEMA = build_schema(incremental=True)
ENGINE = Engine(SCHEMA, EngineOptions(plans=False, incremental=True))
VARIABLES = {"yes": "Boolean!", "no": "Boolean", "two": "Int"}
VALUES = {"yes": True, "no": False, "two": 2}
FAILING = ["/api/v1/thread/1", "/api/v1/thread/2", "/api/v1/thread/1/messages", "/api/v1/thread/2/messages"]

Selected = TypeVar("Selected", FieldNode, FragmentSpreadNode, InlineFragmentNode)


def directive(text: str) -> DirectiveNode:
    (definition,) = parse(f"{{ f {text} }}").definitions
    assert isinstance(definition, OperationDefinitionNode)
    (found,) = definition.selection_set.selections[0].directives or ()
    return found


class Scatter(Visitor):
    """Writes `@defer` at fragments and `@stream` at lists, as often as the draw says."""

    def __init__(self, draw: Draw, types: TypeInfo) -> None:
        super().__init__()
        self._draw, self._types, self._count = draw, types, 0

    def leave_inline_fragment(self, node: InlineFragmentNode, *_: object) -> InlineFragmentNode:
        return self._deferred(node)

    def leave_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> FragmentSpreadNode:
        return self._deferred(node)

    def leave_field(self, node: FieldNode, *_: object) -> FieldNode:
        """A list that is selected twice may be streamed under an alias of its own alone."""
        if not isinstance(get_nullable_type(self._types.get_type()), GraphQLList) or not self._draw(st.booleans()):
            return node
        count = self._draw(st.sampled_from(["", "initialCount: 1", "initialCount: $two", "initialCount: 9"]))
        streamed = self._with(node, "stream", count)
        return replace(streamed, alias=NameNode(value=f"s{self._count}"))

    def _deferred(self, node: Selected) -> Selected:
        return self._with(node, "defer") if self._draw(st.booleans()) else node

    def _with(self, node: Selected, name: str, *arguments: str) -> Selected:
        self._count += 1
        label = self._draw(st.sampled_from(["", f'label: "{self._count}"']))
        condition = self._draw(st.sampled_from(["", "", "", "if: $yes", "if: $no"]))
        given = " ".join([*arguments, label, condition]).strip()
        text = f"@{name}({given})" if given else f"@{name}"
        return replace(node, directives=(*(node.directives or ()), directive(text)))


@st.composite
def scattered(draw: Draw) -> Operation:
    """A query with values for its variables, and with the directives here and there."""
    writer = Writer(draw, is_careful=True)
    thread = TYPES["Thread"]
    fields = f'threads(ids: ["1", "missing", "2", "1"]) {writer.selection(thread, 1)}'
    writer.left = 20
    fields += f' thread(id: "1") {{ id ... {writer.selection(thread, 1)} ... {writer.selection(thread, 1)} }}'
    fragments = "".join(f" fragment {name} on {of} {text}" for name, (of, text) in writer.fragments.items())
    types = TypeInfo(graphql_schema(SCHEMA))
    text = print_ast(visit(parse(f"{{ {fields} }} {fragments}"), TypeInfoVisitor(types, Scatter(draw, types))))
    named = set(re.findall(r"\$(\w+)", text))
    used = {name: of for name, of in {**VARIABLES, **writer.variables}.items() if name in named}
    head = f"query Q({', '.join(f'${name}: {of}' for name, of in used.items())})" if used else "query Q"
    values = {name: value for name, value in {**VALUES, **writer.values}.items() if name in used}
    return Operation(f"{head} {text}", "Q", values)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@PROPERTY
@given(operation=scattered(), failing=st.sets(st.sampled_from(FAILING), max_size=2))
def test_the_merged_parts_equal_the_whole_response(
    loop: asyncio.Runner, operation: Operation, failing: set[str]
) -> None:
    """In the older form and in the newer one, errors included."""

    def answer(target: str) -> Reply:
        return rest_response(403) if target.partition("?")[0] in failing else well_formed(target)

    (whole,) = loop.run(run_in_parts(ENGINE, operation, answer, incremental=False))
    assume("data" in whole and whole["data"] is not None)
    parts = loop.run(run_in_parts(ENGINE, operation, answer, incremental=True))
    assert applied(parts) == whole["data"]
    if len(parts) > 1:
        assert applied_by_id(parts) == whole["data"]
    assert errors_of(parts) == errors_of([whole])
