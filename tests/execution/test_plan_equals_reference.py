"""Plans and the reference return the same responses: the same bytes, after the same REST calls."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.execution.engine import Engine, EngineOptions
from gateway.execution.operation import Operation
from gateway.execution.result import Result
from gateway.schema.resolvers.budget import ResponseLimits
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.cooperative import LARGE_BYTES
from tests.execution.comparison import SCHEMA, engine, run
from tests.execution.operations import operations
from tests.execution.worlds import World, worlds
from tests.selection import PROPERTY_CASES

PROPERTY = settings(
    max_examples=max(1, PROPERTY_CASES // 2),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PLANNED = engine()
REFERENCE = engine(plans=False)
REFERENCE.documents = PLANNED.documents  # validation takes most of the time here


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


LIMITS = st.builds(ResponseLimits, fields=st.integers(1, 300), bytes=st.integers(2, 20_000))


def differs(
    loop: asyncio.Runner,
    engine: Engine,
    operation: Operation,
    answer: World,
    *,
    large_bytes: int = LARGE_BYTES,
) -> str | None:
    """Return the difference between the engine's response and the reference's, None if there is none."""
    mine = loop.run(run(engine, operation, answer, large_bytes=large_bytes))
    theirs = loop.run(run(REFERENCE, operation, answer))
    return None if mine == theirs else f"{operation}\nplan:      {mine}\nreference: {theirs}"


@PROPERTY
@given(operation=operations(), two=st.tuples(worlds(), worlds()))
def test_plan_equals_reference(loop: asyncio.Runner, operation: Operation, two: tuple[World, World]) -> None:
    for world in two:
        assert not (difference := differs(loop, PLANNED, operation, world)), difference


@settings(PROPERTY, max_examples=max(1, PROPERTY_CASES // 8))
@given(operation=operations(), world=worlds())
def test_cooperative_processing_returns_the_same_responses(
    loop: asyncio.Runner, operation: Operation, world: World
) -> None:
    """Here each body counts as large, for the plan and for the reference."""
    for each in (PLANNED, REFERENCE):
        assert not (difference := differs(loop, each, operation, world, large_bytes=0)), difference


@settings(PROPERTY, max_examples=max(1, PROPERTY_CASES // 4))
@given(operation=operations(), world=worlds(), limits=LIMITS, large_bytes=st.sampled_from([0, LARGE_BYTES]))
def test_both_refuse_the_same_responses(
    loop: asyncio.Runner, operation: Operation, world: World, limits: ResponseLimits, large_bytes: int
) -> None:
    """A refused operation may have made fewer calls."""
    mine, theirs = (
        loop.run(run(each, operation, world, large_bytes=large_bytes, response=limits)) for each in (PLANNED, REFERENCE)
    )
    assert mine.body == theirs.body, f"{operation}\n{limits}"


class Forgetful(Engine):
    """A seeded bug: it returns null instead of an empty list."""

    async def execute(self, operation: Operation, context: OperationContext, *, incremental: bool = False) -> Result:
        result = await super().execute(operation, context, incremental=incremental)
        body = msgspec.json.encode(result.payload)
        return Result(msgspec.json.decode(body.replace(b"[]", b"null")))


def test_a_seeded_bug_is_found(loop: asyncio.Runner) -> None:
    broken = Forgetful(SCHEMA, EngineOptions())

    @settings(PROPERTY, max_examples=500, database=None, phases=[Phase.generate])
    @given(operation=operations(), world=worlds())
    def same(operation: Operation, world: World) -> None:
        assert not (difference := differs(loop, broken, operation, world)), difference

    with pytest.raises(AssertionError, match="reference:"):
        same()
