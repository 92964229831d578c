"""The thread that a mutation answers is the one that a query answers, whatever is selected of it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from graphql import GraphQLObjectType
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.execution.operation import Operation
from tests.execution.comparison import engine, run
from tests.execution.operations import TYPES, Writer
from tests.execution.test_plan_equals_reference import PLANNED, PROPERTY, REFERENCE
from tests.execution.worlds import World, worlds
from tests.harness import rest_response

ENGINES = [PLANNED, REFERENCE]
THREAD: GraphQLObjectType = TYPES["Thread"]


@st.composite
def selections(draw: Any) -> tuple[Operation, Operation]:
    """Draw what is selected of a thread; return the query and the mutation that select it."""
    writer = Writer(draw, is_careful=True)
    selection = writer.selection(THREAD, 1)
    fragments = "".join(f" fragment {name} on {of} {text}" for name, (of, text) in writer.fragments.items())
    variables = ", ".join(f"${name}: {of}" for name, of in writer.variables.items())
    declared = f"({variables})" if variables else ""
    query = f'query Q{declared} {{ thread(id: "1") {selection} }}{fragments}'
    input_ = 'input: {id: "1", comment: "not compared"}'
    mutation = f"mutation Q{declared} {{ updateThread({input_}) {{ outcome thread {selection} }} }}{fragments}"
    return Operation(query, "Q", writer.values), Operation(mutation, "Q", writer.values)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def thread_of(answer: dict[str, Any], *path: str) -> tuple[Any, list[Any]]:
    """Return the thread in an answer, and the paths and codes of the errors in it."""
    thread = answer.get("data")
    for step in path:
        thread = None if thread is None else thread[step]
    errors = [(each.get("path", ())[len(path) :], each["extensions"]["code"]) for each in answer.get("errors", [])]
    return thread, errors


@PROPERTY
@given(both=selections(), world=worlds())
def test_the_thread_of_a_payload_is_the_thread_of_a_query(
    loop: asyncio.Runner, both: tuple[Operation, Operation], world: World
) -> None:
    query, mutation = both
    for each in ENGINES:
        written = msgspec.json.decode(loop.run(run(each, mutation, world)).body)
        # In other worlds the REST API refuses the update, or its answer is lost.
        payload = (written.get("data") or {}).get("updateThread")
        assume(payload is not None and payload["outcome"] == "APPLIED")
        read = msgspec.json.decode(loop.run(run(each, query, world)).body)
        assert thread_of(written, "updateThread", "thread") == thread_of(read, "thread")


def test_a_mutation_is_answered_by_the_reference_alone(loop: asyncio.Runner) -> None:
    """A plan that stands aside is followed by the reference, which would write again."""
    planned = engine()
    loop.run(run(planned, Operation("mutation { createChatToken(input: {}) { outcome } }"), lambda _path: _REFUSED))
    assert (planned.counters.planned, dict(planned.counters.not_plannable)) == (0, {"a mutation": 1})


_REFUSED = rest_response(422)
