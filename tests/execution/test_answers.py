"""Kept answers: a gateway that keeps them answers, and reports its calls, as one that builds every answer."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth import Viewer
from gateway.execution.operation import Operation
from gateway.http1 import Response
from gateway.schema.field_scopes import CONTENT, PERSONAL
from gateway.schema.resolvers.budget import NO_LIMITS, ResponseLimits
from gateway.schema.resolvers.context import ContextFactory
from gateway.storage.memory import MemoryStore
from gateway.telemetry import Counts
from gateway.upstream.call import CallReport, ResponseOrigin, RestRequest
from gateway.upstream.client import UpstreamClient
from gateway.upstream.contract import READS, THREAD
from gateway.upstream.credentials.basic import BasicLoginGuard
from gateway.upstream.transports.cache import CachedReads, CachePolicy, ResponseCache
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyMemory
from gateway.upstream.writes.writer import WritePolicy, Writer
from tests.execution import upstream_bodies
from tests.execution.common_queries import COMMON
from tests.execution.comparison import documents, no_purge
from tests.execution.operations import operations
from tests.execution.test_plan_equals_reference import PROPERTY
from tests.execution.test_scopes import PLANNED, REFERENCE
from tests.execution.worlds import World, worlds
from tests.harness import Clock, rest_response
from tests.upstream.cached import basic

TTL = 60
VIEWERS = [
    Viewer(authorization, caller, scopes)
    for authorization, caller in (("Bearer one", "one"), (basic("two", "secret"), "two"), (None, "everyone"))
    for scopes in (frozenset({PERSONAL, CONTENT}), frozenset({PERSONAL}))
]


def contexts(client: UpstreamClient, limits: ResponseLimits = NO_LIMITS) -> ContextFactory:
    writer = Writer(client, no_purge, policy=WritePolicy(enabled=True), keys=IdempotencyKeys(KeyMemory(), b"secret"))
    return ContextFactory(client, writer, 10, 100, response=limits)


@dataclass
class RestApi:
    """The REST API of a test: a body names the credential that asked for it, and how often everything has changed."""

    world: World | None = None
    version: int = 0
    is_down: bool = False
    rejected: set[str | None] = field(default_factory=set)

    async def send(self, request: RestRequest) -> Response:
        if request.call.before_send is not None:
            request.call.before_send()
        status = 503 if self.is_down else 401 if request.authorization in self.rejected else 200
        if request.call.on_status is not None:
            request.call.on_status(status)
        if status != 200:
            return rest_response(status)
        if self.world is not None:
            reply = self.world(request.target)
            if isinstance(reply, Exception):
                raise reply
            return reply
        name = f"{request.authorization} {self.version}"
        if request.route.template.startswith("/api/v1/customers"):
            return rest_response(json={**upstream_bodies.profile("1"), "closed_chat_categories": [{"id": name}]})
        if request.target.partition("?")[0].endswith("/messages"):
            return rest_response(json={"messages": [{"id": name, "content": name}], "total": self.version})
        return rest_response(json={**upstream_bodies.thread("1"), "tags": [name], "contacts": [name]})

    async def aclose(self) -> None:
        pass


class CachingClient:
    """A REST client with a cache in memory, which keeps answers if ``keeps``."""

    def __init__(self, api: RestApi, clock: Clock, *, keeps: bool, max_bytes: int = 2**25) -> None:
        policy = CachePolicy({each.template: TTL for each in READS}, stale_if_error=TTL, stale_while_revalidate=TTL / 2)
        self.counts = Counts()
        self.store = MemoryStore(max_bytes, clock)
        self.cache = ResponseCache(api, self.store, policy, b"secret", counts=self.counts, now=clock)
        guard = BasicLoginGuard(self.cache, clock=clock)
        self.client = UpstreamClient(guard, CachedReads(guard, self.cache) if keeps else None)

    async def ask(self, operation: Operation, viewer: Viewer = VIEWERS[0]) -> tuple[bytes, list[CallReport]]:
        """Return the encoded response, and the reports of its calls without their times and paths."""
        context = contexts(self.client).build(viewer, "request")
        result = await PLANNED.execute(operation, context)
        await asyncio.sleep(0)  # a refresh in the background begins
        reports = [msgspec.structs.replace(each, milliseconds=0.0, started=0.0, target="") for each in context.reports]
        reports.sort(key=repr)  # some have no status
        return msgspec.json.encode(result.payload), reports

    async def is_kept(self, operation: Operation, viewer: Viewer = VIEWERS[0]) -> bool:
        """Return whether the answer comes from memory as it is: then its calls take no time at all."""
        context = contexts(self.client).build(viewer, "request")
        await PLANNED.execute(operation, context)
        return bool(context.reports) and all(each.milliseconds == 0.0 for each in context.reports)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@PROPERTY
@given(operation=operations(), world=worlds())
def test_a_kept_answer_is_the_references_answer(loop: asyncio.Runner, operation: Operation, world: World) -> None:
    async def run() -> None:
        api = RestApi(world)
        caching = CachingClient(api, Clock(), keeps=True)
        context = contexts(UpstreamClient(api)).build(VIEWERS[0], "request")
        expected = msgspec.json.encode((await REFERENCE.execute(operation, context)).payload)
        for _ in range(4):  # fetched, built from the cache and kept, and twice as it was kept
            assert (await caching.ask(operation, VIEWERS[0]))[0] == expected

    loop.run(run())


SEVERAL = "query ($ids: [ID!]!) { threads(ids: $ids) { id tags messages { totalCount } } }"
OPERATIONS = [
    Operation(COMMON["profiles"]),
    Operation(COMMON["a page of messages"]),
    Operation("query ($id: ID!) { thread(id: $id) { id tags contacts lastMessage { content } } }", None, {"id": "1"}),
    Operation(SEVERAL, None, {"ids": ["1"]}),
    Operation(SEVERAL, None, {"ids": ["2", "1"]}),
    Operation(SEVERAL, None, {"ids": []}),
]
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(VIEWERS), st.sampled_from(OPERATIONS)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, TTL / 2, TTL - 0.5, TTL, TTL * 2.0]), st.none()),
    st.tuples(st.just("purge"), st.sampled_from(["thread:1", "thread:2", "customer:e-1"]), st.none()),
    st.tuples(st.just("change"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.booleans(), st.none()),
    st.tuples(st.just("reject"), st.sampled_from(VIEWERS), st.none()),
)


async def _take(step: tuple[str, Any, Any], api: RestApi, clock: Clock, *clients: CachingClient) -> None:
    what, first, second = step
    match what:
        case "ask":
            answers = [await client.ask(second, first) for client in clients]
            assert all(answer == answers[0] for answer in answers), (second, answers)
        case "wait":
            clock.now += first
        case "purge":
            for client in clients:
                await client.cache.purge(first)
        case "change":
            api.version += 1
        case "fail":
            api.is_down = first
        case "reject":
            api.rejected ^= {first.authorization}


@settings(PROPERTY)
@given(steps=st.lists(STEPS, max_size=30), small=st.booleans())
def test_answers_are_those_of_a_gateway_that_keeps_none(
    loop: asyncio.Runner, steps: list[tuple[str, Any, Any]], small: bool
) -> None:
    """Whatever happens in between: other callers, other scopes, purges, expiry, changes, failures, a full memory."""

    async def run() -> None:
        api, clock = RestApi(), Clock()
        keeping = CachingClient(api, clock, keeps=True, max_bytes=2**15 if small else 2**25)
        building = CachingClient(api, clock, keeps=False)
        for step in steps:
            if small:
                await _take(step, api, clock, keeping)  # it has another cache, so that only its own answers count
            else:
                await _take(step, api, clock, keeping, building)
        if not small:
            assert keeping.counts == building.counts
            assert keeping.client.calls == building.client.calls

    loop.run(run())


@pytest.mark.parametrize("operation", OPERATIONS[:5], ids=range(5))
async def test_the_third_answer_is_kept_until_its_entry_ends(operation: Operation) -> None:
    """The first is fetched, and the second is built from the cache."""
    clock = Clock()
    caching = CachingClient(RestApi(), clock, keeps=True)
    assert [await caching.is_kept(operation) for _ in range(4)] == [False, False, True, True]
    await caching.cache.purge("thread:1")
    assert [await caching.is_kept(operation) for _ in range(3)] == [False, False, True]
    clock.now += TTL
    assert not await caching.is_kept(operation)


async def test_callers_with_other_credentials_or_scopes_share_no_answer() -> None:
    caching = CachingClient(RestApi(), Clock(), keeps=True)
    operation = OPERATIONS[3]
    for viewer in VIEWERS:
        first_scopes = viewer.scopes == VIEWERS[0].scopes
        kept = [await caching.is_kept(operation, viewer) for _ in range(3)]
        # The second caller of a credential finds the responses, but not the answer.
        assert kept == ([False, False, True] if first_scopes else [False, True, True])
    bodies = [(await caching.ask(operation, viewer))[0] for viewer in VIEWERS]
    assert len(set(bodies)) == 3
    assert all(str(viewer.authorization).encode() in body for viewer, body in zip(VIEWERS, bodies, strict=True))


TWO = 'query A($id: ID! = "1") { thread(id: $id) { id } } query B($id: ID! = "1") { thread(id: $id) { tags } }'


@pytest.mark.parametrize(
    "others",
    [
        [Operation(SEVERAL, None, {"ids": ids}) for ids in (["1"], ["2"], ["1", "2"], ["2", "1"], ["1", "1"], [], [1])],
        [Operation(TWO, name, variables) for name in "AB" for variables in (None, {}, {"id": "2"}, {"id": "1"})],
        [Operation(f"{{ thread(id: 1) {{ {name} }} }}") for name in ("id", "tags", "same: id", "contacts")],
        [Operation("{ __typename }")],
    ],
    ids=["variables", "operations", "documents", "no calls"],
)
async def test_another_operation_has_another_answer(others: list[Operation]) -> None:
    keeping, building = (CachingClient(RestApi(), Clock(), keeps=keeps) for keeps in (True, False))
    for _ in range(4):
        for operation in others:
            assert await keeping.ask(operation) == await building.ask(operation)
            assert keeping.counts == building.counts


async def test_nothing_is_kept_or_found_while_the_cache_is_suspended() -> None:
    caching = CachingClient(RestApi(), Clock(), keeps=True)
    assert [await caching.is_kept(OPERATIONS[2]) for _ in range(3)][-1]
    caching.cache.is_suspended = True
    assert not any([await caching.is_kept(OPERATIONS[2]) for _ in range(4)])
    caching.cache.is_suspended = False
    assert await caching.is_kept(OPERATIONS[2])


async def test_an_answer_is_not_kept_if_what_it_was_made_of_was_replaced_meanwhile() -> None:
    api = RestApi()
    caching = CachingClient(api, Clock(), keeps=True)
    first, second = (contexts(caching.client).build(VIEWERS[0], "request") for _ in range(2))
    await first.loaders.of(THREAD).load(("1", None))
    api.version += 1
    await caching.cache.purge("thread:1")
    await second.loaders.of(THREAD).load(("1", None))
    first.loaders.keep(b"1", "old", 1)
    assert second.loaders.made(b"1") is None
    second.loaders.keep(b"1", "new", 1)
    assert second.loaders.made(b"1") == "new"


async def test_the_memory_of_answers_is_bounded_however_many_bodies_they_were_made_of() -> None:
    bound = 2**20
    caching = CachingClient(RestApi(), Clock(), keeps=True, max_bytes=bound)
    loaders = contexts(caching.client).build(VIEWERS[0], "request").loaders
    for number in range(50):
        await loaders.of(THREAD).load((str(number), None))
    tracemalloc.start()
    try:
        for number in range(500):
            loaders.keep(str(number).encode(), str(number), 4)
        taken, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert loaders.made(b"499") == "499"
    assert loaders.made(b"0") is None
    assert taken < bound


async def test_credentials_that_were_rejected_get_no_kept_answer() -> None:
    api, clock = RestApi(), Clock()
    caching = CachingClient(api, clock, keeps=True)
    viewer = VIEWERS[2]
    assert [await caching.is_kept(OPERATIONS[2], viewer) for _ in range(3)][-1]
    api.rejected.add(viewer.authorization)
    await caching.ask(OPERATIONS[0], viewer)  # another customer's call meets the 401
    body, _ = await caching.ask(OPERATIONS[0], viewer)
    assert b"UNAUTHENTICATED" in body
    assert not await caching.is_kept(OPERATIONS[2], viewer)


async def test_an_answer_with_an_error_or_a_null_is_not_kept() -> None:
    for world in (documents({}), documents({"/api/v1/thread/1": {"id": "1", "tags": 5}})):
        caching = CachingClient(RestApi(world), Clock(), keeps=True)
        for _ in range(4):
            assert not await caching.is_kept(OPERATIONS[2])


@pytest.mark.parametrize("limits", [ResponseLimits(fields=3), ResponseLimits(bytes=40), ResponseLimits(fields=0)])
@pytest.mark.parametrize("document", ["{ thread(id: 1) { id tags contacts status } }", COMMON["profiles"]])
async def test_an_answer_that_is_too_large_is_not_kept(limits: ResponseLimits, document: str) -> None:
    caching = CachingClient(RestApi(), Clock(), keeps=True)
    for _ in range(4):
        context = contexts(caching.client, limits).build(VIEWERS[0], "request")
        result = await PLANNED.execute(Operation(document), context)
        assert result.codes == ("MAX_RESPONSE_LIMIT",)
        assert result.payload["errors"]


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("variables", [{"id": "\ud800"}, {"id": "1", "x": _nested(10_000)}, {"id": 2**70}])
async def test_variables_without_a_json_form_are_answered_as_ever(variables: dict[str, Any]) -> None:
    operation = Operation("query ($id: ID!) { thread(id: $id) { id } }", None, variables)
    keeping, building = (CachingClient(RestApi(), Clock(), keeps=keeps) for keeps in (True, False))
    for _ in range(3):
        assert await keeping.ask(operation) == await building.ask(operation)
        assert not await keeping.is_kept(operation)


def test_kept_answers_report_their_calls_as_the_cache_does() -> None:
    reports = [asyncio.run(_third_report(keeps)) for keeps in (True, False)]
    assert reports[0] == reports[1]
    assert {each.origin for each in reports[0]} == {ResponseOrigin.CACHED}


async def test_a_kept_answer_is_logged_and_counted_as_one_that_is_built() -> None:
    caching = CachingClient(RestApi(), Clock(), keeps=True)
    before = PLANNED.counters.planned
    executions = []
    for _ in range(4):
        context = contexts(caching.client).build(VIEWERS[0], "request")
        await PLANNED.execute(Operation(TWO, "B"), context)
        executions.append(msgspec.structs.replace(context.execution, began=0.0))
    assert executions[0] == executions[-1]
    assert (executions[0].name, executions[0].type, executions[0].executor) == ("B", "query", "plan")
    assert PLANNED.counters.planned == before + 4


async def _third_report(keeps: bool) -> list[CallReport]:
    clock = Clock()
    caching = CachingClient(RestApi(), clock, keeps=keeps)
    for _ in range(3):
        clock.now += 1
        _, reports = await caching.ask(OPERATIONS[0])
    return reports
