"""Which operations are planned, when a plan stands aside, and how many calls a response costs."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest

from gateway.compat.strawberry import graphql_schema
from gateway.execution.engine import Engine
from gateway.execution.operation import Operation
from gateway.execution.plans.cache import PlanMemory, Planner
from gateway.execution.plans.plan import Plan
from gateway.http1 import ConnectFailed, Response
from gateway.upstream.call import RestRequest
from tests.execution import upstream_bodies
from tests.execution.common_queries import COMMON
from tests.execution.comparison import SCHEMA, Reply, Seen, Upstream, documents, engine, run
from tests.harness import rest_response

UPSTREAM = documents(
    {
        "/api/v1/thread/1": upstream_bodies.thread("1"),
        "/api/v1/thread/2": upstream_bodies.thread("2"),
        "/api/v1/thread/1/messages": upstream_bodies.page(0, 3),
        "/api/v1/customers/e-1": upstream_bodies.profile("1"),
        "/api/v1/customers/e-2": upstream_bodies.profile("2"),
    }
)
REFERENCE_ONLY = {
    "{ __schema { queryType { name } } }": "the field Query.__schema",
    '{ __type(name: "Thread") { name } }': "the field Query.__type",
    "{ _service { sdl } }": "the field Query._service",
}
ASIDE = [
    ({"id": 1}, "unexpected value"),
    ({"id": None}, "unexpected value"),
    ({"message_count": "12"}, "unexpected value"),
    ({"message_count": 2**31}, "unexpected value"),
    ({"message_count": 1.0}, "unexpected value"),
    ({"message_count": True}, "unexpected value"),
    ({"tags": [None]}, "unexpected value"),
    ({"tags": "urgent"}, "unexpected value"),
    ({"customers": [{"external_id": "e-1"}]}, "unexpected value"),
    ({"status": 1.5}, "unexpected value"),
]
_EVERYTHING = "{ thread(id: 1) { id messageCount tags status customers { id } } }"


def thread(**changed: Any) -> dict[str, Any]:
    return {"/api/v1/thread/1": {**upstream_bodies.thread("1"), **changed}}


async def both(document: str, answer: Any = UPSTREAM, **variables: Any) -> tuple[Engine, Seen]:
    """Run with plans and without; check that the responses and the calls are the same."""
    planned = engine()
    name = "Q" if "query Q" in document else None
    operation = Operation(document, name, variables or {"id": "1"})
    seen = await run(planned, operation, answer)
    assert seen == await run(engine(plans=False), operation, answer)
    return planned, seen


@pytest.mark.parametrize("document", COMMON.values(), ids=COMMON)
async def test_common_queries_are_planned(document: str) -> None:
    planned, seen = await both(document)
    assert planned.counters.planned == 1, planned.counters
    assert b'"errors"' not in seen.body


@pytest.mark.parametrize("document", COMMON.values(), ids=COMMON)
async def test_plans_that_select_the_same_share_their_types(document: str) -> None:
    """A garbage collection passes over each of a type's parts, and everybody waits for it."""

    def types() -> int:
        gc.collect()
        return sum(isinstance(each, type) and issubclass(each, msgspec.Struct) for each in gc.get_objects())

    planned, seen = await both(document)
    before = types()
    for number in range(3):
        operation = Operation(document + " " * number, "Q" if "query Q" in document else None, {"id": "1"})
        assert (await run(planned, operation, UPSTREAM)).body == seen.body
    assert planned.documents.kept == 3
    assert types() <= before


@pytest.mark.parametrize(("changed", "reason"), ASIDE)
async def test_a_plan_stands_aside_for_a_value_of_another_type(changed: dict[str, Any], reason: str) -> None:
    planned, seen = await both(_EVERYTHING, documents(thread(**changed)))
    assert planned.counters.stood_aside == {reason: 1}
    assert len(seen.calls) == 1, "the reference works on the bytes that were loaded"


@pytest.mark.parametrize("missing", ["message_count", "tags", "status", "customers"])
async def test_a_plan_accepts_absent_and_null_values(missing: str) -> None:
    absent = upstream_bodies.thread("1")
    del absent[missing]
    for body in (absent, {**absent, missing: None}):
        planned, _ = await both(_EVERYTHING, documents({"/api/v1/thread/1": body}))
        assert planned.counters.planned == 1


@pytest.mark.parametrize(
    "reply",
    [
        rest_response(500, json={"errors": [{"code": "boom", "message": "m"}]}),
        rest_response(200, b"<html>"),
        rest_response(200, b'{"id": "1", "not_selected": "\xff"}'),
        rest_response(200, rb'{"id": "1", "not_selected": "\ud83d"}'),
        ConnectFailed("refused"),
    ],
    ids=["500", "html", "invalid UTF-8 in a field that is not selected", "half a surrogate pair there", "refused"],
)
async def test_errors_come_from_the_reference_and_cost_no_second_call(reply: Reply) -> None:
    planned, seen = await both("{ a: thread(id: 1) { id } b: thread(id: 1) { tags } }", lambda _: reply)
    assert planned.counters.planned == 0
    assert seen.calls == ["/api/v1/thread/1"]
    assert len(msgspec.json.decode(seen.body)["errors"]) == 2


@pytest.mark.parametrize(("document", "reason"), REFERENCE_ONLY.items())
async def test_operations_without_a_plan_go_to_the_reference(document: str, reason: str) -> None:
    planned, _ = await both(document)
    assert planned.counters.planned == 0
    assert list(planned.counters.not_plannable) == [reason]


async def test_wrong_variables_and_arguments_go_to_the_reference() -> None:
    planned, _ = await both("query ($id: ID!) { thread(id: $id) { id } }", id=None)
    assert planned.counters.stood_aside == {"variables": 1}
    planned, _ = await both("{ thread(id: 1) { messages(first: -1) { totalCount } } }")
    assert planned.counters.stood_aside == {"BAD_USER_INPUT": 1}


async def test_keys_have_the_order_of_the_document() -> None:
    _, seen = await both("{ z: thread(id: 1) { tags id a: status __typename } b: thread(id: 9) { id } }")
    assert seen.body == b'{"data":{"z":{"tags":["urgent"],"id":"1","a":2,"__typename":"Thread"},"b":null}}'


async def test_a_plan_is_compiled_once_for_each_combination_of_conditions() -> None:
    planned = engine()
    document = "query ($a: Boolean!) { thread(id: 1) { id @include(if: $a) tags } }"
    for is_included in (True, False, True, False):
        await run(planned, Operation(document, variables={"a": is_included}), UPSTREAM)
    assert planned.counters.planned == 4
    (plans,) = planned.documents.get(document).plans.values()
    assert sorted(plans._plans) == [(False,), (True,)]  # noqa: SLF001 - what is kept is not visible from outside


async def test_too_many_combinations_of_conditions_go_to_the_reference() -> None:
    planned = engine()
    names = [f"b{index}" for index in range(5)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: id @include(if: ${name})" for name in names)
    document = f"query ({declared}) {{ thread(id: 1) {{ tags {fields} }} }}"
    for number in range(32):
        values = {name: bool(number >> index & 1) for index, name in enumerate(names)}
        await run(planned, Operation(document, variables=values), UPSTREAM)
    assert (planned.counters.planned, planned.counters.not_plannable.total()) == (16, 16)


async def test_the_fields_of_all_plans_together_are_bounded() -> None:
    """A bound on their number would not do: one plan can be as large as hundreds of others."""
    memory = PlanMemory(max_fields=20)
    documents = engine().documents
    planner = Planner(graphql_schema(SCHEMA), memory)

    def choose(text: str, inputs: dict[str, Any] | None = None) -> Plan:
        document = documents.get(text)
        plan, _ = planner.choose(document, None, documents.variables(document, None, inputs))
        return plan

    document = "query ($a: Boolean!) { thread(id: 1) { id @include(if: $a) tags status createdAt } }"
    others = [f"query Q{number} {{ thread(id: 1) {{ id tags status createdAt }} }}" for number in range(10)]
    first = choose(document, {"a": True})
    assert choose(document, {"a": True}) is first
    for other in others:
        choose(other)
        assert memory.currsize <= 20
    assert choose(document, {"a": True}) is not first, "it was dropped, and compiled again"
    assert choose(others[-1]) is choose(others[-1])


async def test_a_small_document_with_large_expanded_fragments_is_not_planned() -> None:
    levels = 12
    fragments = [
        f"fragment F{level} on Customer {{ a: profile {{ customer {{ ...F{level + 1} }} }}"
        f" b: profile {{ customer {{ ...F{level + 1} }} }} }}"
        for level in range(levels)
    ]
    document = " ".join(
        ["{ customer(externalId: 9) { ...F0 } }", *fragments, f"fragment F{levels} on Customer {{ id }}"]
    )
    planned, _ = await both(document)
    assert planned.counters.not_plannable == {"a document that is too large": 1}


async def test_documents_that_are_not_kept_are_not_planned() -> None:
    planned = engine()
    document = "{ thread(id: 1) { id } } #" + "x" * 40_000
    await run(planned, Operation(document), UPSTREAM)
    assert planned.counters.not_plannable == {"a document that is not kept": 1}


async def test_independent_calls_are_made_at_the_same_time() -> None:
    below = "customers { profile { customer { id } } } messages { totalCount }"
    document = f"{{ a: thread(id: 1) {{ {below} }} b: thread(id: 2) {{ id }} }}"
    running: list[str] = []
    waves: list[list[str]] = []

    async def wave() -> None:
        """Record the calls that are running, then answer all of them."""
        waves.append(sorted(running))
        running.clear()

    class Waves(Upstream):
        async def send(self, request: RestRequest) -> Response:
            target = request.target.partition("?")[0]
            running.append(target)
            for _ in range(20):  # long enough for every call that can start
                await asyncio.sleep(0)
            if running:
                await wave()
            reply = UPSTREAM(target)
            assert isinstance(reply, Response)
            return reply

    seen = await run(planned := engine(), Operation(document), UPSTREAM, transport=Waves(UPSTREAM))
    assert planned.counters.planned == 1
    assert b'"errors"' not in seen.body
    assert waves == [
        ["/api/v1/thread/1", "/api/v1/thread/2"],
        ["/api/v1/customers/e-1", "/api/v1/customers/e-2", "/api/v1/thread/1/messages"],
    ]


async def test_no_text_of_a_client_becomes_source() -> None:
    document = (
        'query Evil($evil: ID!) { evil: thread(id: $evil) { evil: tags messages(after: "evil") { nodes { id } } } }'
    )
    planned = engine()
    await run(planned, Operation(document, variables={"evil": "1"}), UPSTREAM)
    (plans,) = planned.documents.get(document).plans.values()
    plan, _ = plans.choose(planned.documents.variables(planned.documents.get(document), None, {"evil": "1"}))
    assert "tags_" in plan.source
    assert "evil" not in plan.source.lower()


@pytest.mark.slow  # it builds thousands of threads
async def test_a_thread_that_is_requested_many_times_is_built_once() -> None:
    """The work of building is proportional to distinct ids. Repeats may still have parts of their own REST calls."""
    planned = engine()
    query = "query ($ids: [ID!]!) { threads(ids: $ids) { id messages { totalCount } } }"
    bodies: dict[str, Any] = {f"/api/v1/thread/{name}": {"id": name} for name in "ab"}
    bodies |= {f"/api/v1/thread/{name}/messages": {"messages": [], "total": 3} for name in "ab"}
    operation = Operation(query, None, {"ids": ["a", "b", "c"] * 3000})
    created = 0

    def count(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal created
        created += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(count)
    seen = await run(planned, operation, documents(bodies))
    asyncio.get_running_loop().set_task_factory(None)
    assert planned.counters.planned == 1
    assert created < 100
    assert seen == await run(engine(plans=False), operation, documents(bodies))
