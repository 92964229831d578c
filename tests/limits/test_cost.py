"""The REST calls of an operation are predicted before the first: never too few, and seldom too many."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from gateway.auth import Viewer
from gateway.errors import RequestError
from gateway.execution.cost.policy import CostPolicy
from gateway.execution.engine import Engine, EngineOptions
from gateway.execution.operation import Operation
from gateway.execution.result import Cost
from gateway.sandbox import Sandbox
from gateway.schema.resolvers.context import ContextFactory
from gateway.settings import CostMode
from gateway.upstream.client import UpstreamClient
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyMemory
from gateway.upstream.writes.writer import Writer
from tests.execution.comparison import SCHEMA, Upstream, no_purge
from tests.execution.operations import operations
from tests.execution.worlds import World, worlds
from tests.harness import Gateway, StartGateway
from tests.selection import PROPERTY_CASES

PROPERTY = hypothesis_settings(
    max_examples=max(1, PROPERTY_CASES * 3 // 20),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EXACT: dict[str, tuple[str, dict[str, Any], int]] = {
    "nothing of the REST API": ("{ __typename _service { sdl } __schema { queryType { name } } }", {}, 0),
    "a thread": ('{ thread(id: "th-1") { id lastMessage { id } customers { id } } }', {}, 1),
    "a thread, twice": ('{ a: thread(id: "th-1") { id } b: thread(id: "th-1") { tags } }', {}, 1),
    "two threads": ('{ a: thread(id: "th-1") { id } b: thread(id: "th-2") { id } }', {}, 2),
    "one thread by two variables": (
        "query ($a: ID!, $b: ID!) { a: thread(id: $a) { id } b: thread(id: $b) { id } }",
        {"a": "th-1", "b": "th-1"},
        1,
    ),
    "threads": ('{ threads(ids: ["th-1", "th-2", "th-1"]) { id } }', {}, 2),
    "threads by variable": ("query ($a: [ID!]!) { threads(ids: $a) { id } }", {"a": ["th-1", "th-2", "th-1"]}, 2),
    "no threads": ("query ($a: [ID!]!) { threads(ids: $a) { id messages { totalCount } } }", {"a": []}, 0),
    "a thread from two fields": ('{ threads(ids: ["th-1", "th-2"]) { id } thread(id: "th-1") { id } }', {}, 2),
    "messages": ('{ thread(id: "th-1") { messages { totalCount } } }', {}, 2),
    "the same page twice": (
        '{ thread(id: "th-1") { messages { totalCount } b: messages(first: 20) { totalCount } } }',
        {},
        2,
    ),
    "two pages": ('{ thread(id: "th-1") { messages { totalCount } b: messages(first: 2) { totalCount } } }', {}, 3),
    "a page of one thread, twice": (
        '{ a: thread(id: "th-1") { messages { totalCount } } b: thread(id: "th-1") { messages { totalCount } } }',
        {},
        2,
    ),
    "a page that is too large": (
        'query ($n: Int) { thread(id: "th-1") { id a: messages(first: $n) { totalCount } messages { totalCount } } }',
        {"n": 101},
        2,
    ),
    "messages of threads": ('{ threads(ids: ["th-1", "th-2"]) { messages { totalCount } } }', {}, 4),
    "a customer": ('{ customer(externalId: "ext-1") { id } }', {}, 1),
    "a skipped field": (
        'query ($a: Boolean!) { thread(id: "th-1") { id messages @include(if: $a) { totalCount } } }',
        {"a": False},
        1,
    ),
    "a field that is not skipped": (
        'query ($a: Boolean!) { thread(id: "th-1") { id messages @skip(if: $a) { totalCount } } }',
        {"a": False},
        2,
    ),
    "a fragment": (
        """{ thread(id: "th-1") { ...F ...F } }
           fragment F on Thread { messages { totalCount } ... { messages { nodes { id } } } }""",
        {},
        2,
    ),
    "one operation of two": ('query Other { thread(id: "th-1") { id } } query Q { __typename }', {}, 0),
    "entities": (
        """query ($a: [_Any!]!) { _entities(representations: $a) {
             ... on Thread { messages { totalCount } } ... on Customer { id } } }""",
        {
            "a": [
                {"__typename": "Thread", "id": "th-1"},
                {"__typename": "Customer", "externalId": "ext-1"},
                {"__typename": "Thread", "id": "th-1"},
                {"__typename": "Message", "id": "m-1"},
            ]
        },
        3,
    ),
}


def cost_of(response: httpx.Response) -> tuple[int, int]:
    """Return the predicted and the actual number of calls."""
    found = re.fullmatch(r"predicted=(\d+), made=(\d+)", response.headers["gateway-cost"])
    assert found, response.headers["gateway-cost"]
    return int(found[1]), int(found[2])


def ask(gateway: Gateway, document: str, variables: dict[str, Any] | None = None) -> httpx.Response:
    name = "Q" if "query Q" in document else None
    return gateway.http.post("/graphql", json={"query": document, "variables": variables, "operationName": name})


@pytest.mark.parametrize("plans", [True, False], ids=["planned", "reference"])
@pytest.mark.parametrize(("document", "variables", "calls"), EXACT.values(), ids=EXACT)
def test_the_prediction_is_exact(
    start: StartGateway, sandbox: Sandbox, document: str, variables: dict[str, Any], calls: int, plans: bool
) -> None:
    gateway = start(plans=plans)
    for _ in range(2):
        sandbox._calls.clear()  # noqa: SLF001 - the log has no public name
        assert cost_of(ask(gateway, document, variables)) == (calls, calls)
        assert sandbox.count() - sandbox.count("token") == calls


def test_an_unknown_list_is_assumed_to_have_the_configured_size(start: StartGateway) -> None:
    document = '{ thread(id: "th-1") { customers { profile { customer { id } } } } }'
    for size in (1, 5, 100):
        predicted, made = cost_of(ask(start(cost_list_size=size), document))
        assert predicted == 1 + size
        assert made > 1


def test_the_cost_depends_on_the_variables(start: StartGateway) -> None:
    gateway = start()
    document = "query ($a: [ID!]!, $b: Boolean!) { threads(ids: $a) { id messages @skip(if: $b) { totalCount } } }"
    for ids, skip, calls in (
        (["th-1"], True, 1),
        (["th-1", "th-2"], False, 4),
        (["th-1"], False, 2),
        (["th-1", "th-2"], True, 2),
    ):
        assert cost_of(ask(gateway, document, {"a": ids, "b": skip})) == (calls, calls)


@pytest.mark.parametrize("plans", [True, False], ids=["planned", "reference"])
def test_the_mode_enforce_executes_operations_up_to_the_limit(
    start: StartGateway, sandbox: Sandbox, plans: bool
) -> None:
    gateway = start(max_cost=5, plans=plans)
    document = "query ($a: [ID!]!) { threads(ids: $a) { id } }"
    for count in (4, 5):
        assert cost_of(ask(gateway, document, {"a": list(range(count))})) == (count, count)
    calls = sandbox.count()
    (error,) = ask(gateway, document, {"a": list(range(6))}).json()["errors"]
    assert error["extensions"]["code"] == "MAX_COST_LIMIT"
    assert error["message"] == "The operation is predicted to make 6 REST calls or more; at most 5 are allowed."
    assert sandbox.count() == calls


def test_the_mode_measure_refuses_nothing(start: StartGateway) -> None:
    gateway = start(cost_mode="measure", max_cost=1)
    assert cost_of(ask(gateway, EXACT["two threads"][0])) == (2, 2)


@pytest.mark.parametrize("count", [10, 11, 200])
def test_the_mode_measure_counts_up_to_five_times_the_limit(start: StartGateway, count: int) -> None:
    """Counting further would be expensive, and the exact number does not matter."""
    document = "query ($a: [ID!]!) { threads(ids: $a) { id } }"
    response = ask(start(cost_mode="measure", max_cost=2), document, {"a": list(range(count))})
    assert len(response.json()["data"]["threads"]) == count
    predicted = "10" if count == 10 else "11;or-more"
    assert response.headers["gateway-cost"] == f"predicted={predicted}, made={count}"


def test_the_header_of_a_batch_has_or_more_if_one_count_was_stopped(start: StartGateway) -> None:
    gateway = start(cost_mode="measure", max_cost=1, max_batch=2)
    many = "{ threads(ids: [" + " ".join(map(str, range(9))) + "]) { id } }"
    response = gateway.http.post("/graphql", json=[{"query": many}, {"query": "{ __typename }"}])
    assert response.headers["gateway-cost"] == "predicted=6;or-more, made=9"


def test_the_mode_off_sends_no_header_and_refuses_nothing(start: StartGateway) -> None:
    response = ask(start(cost_mode="off"), EXACT["two threads"][0])
    assert "gateway-cost" not in response.headers
    assert "errors" not in response.json()


def test_cached_responses_do_not_count_as_calls(start: StartGateway) -> None:
    gateway = start(cache_url="memory://")
    assert [cost_of(ask(gateway, EXACT["messages"][0])) for _ in range(2)] == [(2, 2), (2, 0)]


def test_the_header_of_a_batch_has_the_sum_of_its_operations(start: StartGateway) -> None:
    body = [{"query": EXACT[name][0]} for name in ("messages", "two threads")]
    assert cost_of(start(max_batch=2, coalescing=False).http.post("/graphql", json=body)) == (4, 4)


def test_the_header_of_an_incremental_response_has_only_the_prediction(start: StartGateway) -> None:
    document = '{ thread(id: "th-1") { id ... @defer { messages { totalCount } } } }'
    headers = {"accept": "multipart/mixed, application/json"}
    response = start(incremental=True).http.post("/graphql", json={"query": document}, headers=headers)
    assert response.headers["content-type"].startswith("multipart/mixed")
    assert response.headers["gateway-cost"] == "predicted=2"


def test_an_operation_too_large_to_be_searched_is_refused(start: StartGateway) -> None:
    links = " ".join(
        f"fragment F{i} on Customer {{ a: profile {{ customer {{ ...F{i + 1} }} }}"
        f" b: profile {{ customer {{ ...F{i + 1} }} }} }}"
        for i in range(20)
    )
    document = "{ customer(externalId: 1) { ...F0 } }" + links + " fragment F20 on Customer { id }"
    most = 10**12
    gateway = start(max_fields=most, max_aliases=most, max_depth=200)
    assert gateway.code(document) == "MAX_COST_LIMIT"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def calls_of(engine: Engine, operation: Operation, world: World) -> tuple[Cost | None, int]:
    """Return the cost that the engine reports, and the number of calls that arrived.

    Of each route there are at most as many as are explained, and all together are not more than the cost.
    """
    upstream = Upstream(world)
    client = UpstreamClient(upstream)
    writer = Writer(client, no_purge, keys=IdempotencyKeys(KeyMemory(), b"secret"))
    contexts = ContextFactory(client, writer, 10, 100)
    context, explaining = (contexts.build(Viewer("Bearer token"), "request") for _ in range(2))
    context.execution.explain = True
    cost = (await engine.execute(operation, context)).cost
    for call in context.execution.calls or ():
        assert call["fields"], call
        assert "Bearer token" not in str(call)
    if cost is not None and context.execution.executor != "none":
        with suppress(RequestError):
            calls = engine.explain(engine.read(operation, explaining), explaining).payload["calls"]
            explained = Counter({each["route"]: 0 for each in calls})
            for each in calls:
                explained[each["route"]] += each["predicted"]
            assert Counter(report.route for report in context.reports) <= explained
            assert explained.total() <= cost.predicted
    return cost, len(upstream.calls)


# The lists of these worlds have at most two items.
_POLICY = CostPolicy(CostMode.MEASURE, list_size=2)
ENGINES = [Engine(SCHEMA, EngineOptions(plans=plans), costs=_POLICY) for plans in (True, False)]


@PROPERTY
@given(operation=operations(), world=worlds())
def test_there_are_never_more_calls_than_predicted(loop: asyncio.Runner, operation: Operation, world: World) -> None:
    """For any operation, in both executors, with any responses of the REST API."""
    for engine in ENGINES:
        cost, made = loop.run(calls_of(engine, operation, world))
        if cost is None:
            assert made == 0
        else:
            assert cost.actual == made
            assert cost.predicted >= made
