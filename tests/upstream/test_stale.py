"""Stale responses: served during a refresh, and if the REST API fails (RFC 5861)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.errors import Forbidden, GatewayError, Unauthenticated, UpstreamError, UpstreamTimeout
from gateway.http1 import Response
from gateway.sandbox import Accounts, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.storage.memory import MemoryStore
from gateway.telemetry import Counts
from gateway.upstream.call import Call, ResponseOrigin, RestRequest
from gateway.upstream.client import UpstreamClient
from gateway.upstream.transports.cache import CachePolicy
from tests.harness import Clock, StartGateway, build_client, rest_response, settings
from tests.upstream.cached import TTL, Answer, Cached, ask
from tests.upstream.redis_server import RedisServer

WHILE_RENEWED = {"cache_stale_while_revalidate": 60}
IF_ERROR = {"cache_stale_if_error": 60}
NEW = {"status": "New"}

Build = Callable[..., UpstreamClient]


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts({"other@sandbox.example": "other-password"}))


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
async def build(upstream: str, clock: Clock, counts: Counts) -> AsyncIterator[Build]:
    """Build the whole stack with a cache in memory; it is closed after the test."""
    clients: list[UpstreamClient] = []

    def build_one(**overrides: Any) -> UpstreamClient:
        given = {"upstream_url": upstream, "upstream_identity": "passthrough", "cache_url": "memory://", **overrides}
        clients.append(build_client(settings(**given), counts, clock.timing))
        return clients[-1]

    yield build_one
    for client in clients:
        await client.aclose()


# stale-while-revalidate


async def test_a_stale_response_is_served_at_once_and_refreshed_once(
    build: Build, sandbox: Sandbox, clock: Clock, redis: RedisServer | None
) -> None:
    place = {"cache_url": redis.url, "cache_secret": "sixteen or more letters", "cache_timeout": 5} if redis else {}
    client = build(**WHILE_RENEWED, **place)
    await ask(client)
    clock.now += 6
    sandbox.faults.add(Fault("thread", times=1, hold="renewal", patch=NEW))
    answers = await asyncio.gather(*(ask(client) for _ in range(50)))
    answers += [await ask(client) for _ in range(5)]
    assert {(each.origin, each.report.age, each.body["status"]) for each in answers} == {
        (ResponseOrigin.STALE, 6, "Open")
    }
    await asyncio.to_thread(sandbox.wait_for_calls, 2)
    sandbox.release("renewal")
    while (renewed := await ask(client)).origin is ResponseOrigin.STALE:
        await asyncio.to_thread(sandbox.wait_until_idle)
    assert (renewed.origin, renewed.body["status"]) == (ResponseOrigin.CACHED, "New")
    assert sandbox.count() == 2


async def test_after_the_window_callers_wait_for_a_new_response(build: Build, sandbox: Sandbox, clock: Clock) -> None:
    client = build(**WHILE_RENEWED)
    await ask(client)
    clock.now += 65
    assert (await ask(client)).origin is ResponseOrigin.FETCHED
    assert sandbox.count() == 2


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(drop="before"), Fault(body=b" " * 2000 + b"{}")], ids=str)
async def test_a_failed_refresh_is_counted_and_repeated_with_the_next_call(
    build: Build, sandbox: Sandbox, clock: Clock, counts: Counts, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    client = build(**WHILE_RENEWED, upstream_retries=0, upstream_max_body=1500)
    await ask(client, "th-2")
    clock.now += 6
    for attempt in (2, 3):
        sandbox.faults.add(fault)
        assert (await ask(client, "th-2")).origin is ResponseOrigin.STALE
        await asyncio.to_thread(sandbox.wait_for_calls, attempt)
        while counts["cache_renewals_failed"] < attempt - 1:
            await asyncio.to_thread(sandbox.wait_until_idle)
    sandbox.faults.clear()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING] == []


class Refreshed:
    """A REST API that answers once, and then keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def send(self, request: RestRequest) -> Response:
        self.calls.append(request.call)
        if len(self.calls) > 1:
            await asyncio.Event().wait()
        return rest_response(json={"id": "th-1"})

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_refresh_has_a_time_of_its_own(clock: Clock, counts: Counts) -> None:
    """Whoever got the stale response may have had hardly any left, or minutes."""
    policy = CachePolicy(TTL, stale_while_revalidate=60, refresh_timeout=0.5)
    following, loop = Refreshed(), asyncio.get_running_loop()
    cached = Cached("", MemoryStore(2**20), clock, policy, counts=counts, following=following)
    async with cached as client:
        await ask(client)
        clock.now += 6
        began = loop.time()
        assert (await ask(client, seconds=60)).origin is ResponseOrigin.STALE
        async with asyncio.timeout(20):
            while not counts["cache_renewals_failed"]:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        refresh = following.calls[1]
        assert refresh.timeout == 0.5
        assert began + 0.5 <= refresh.deadline <= loop.time()


async def test_a_refresh_may_take_as_long_as_an_operation(build: Build, sandbox: Sandbox, clock: Clock) -> None:
    client = build(**WHILE_RENEWED, operation_timeout=1, upstream_read_timeout=60)
    await ask(client)
    clock.now += 6
    sandbox.faults.add(Fault("thread", hold="for ever"))
    assert (await ask(client)).origin is ResponseOrigin.STALE
    await asyncio.to_thread(sandbox.wait_for_calls, 2)
    await asyncio.to_thread(sandbox.wait_until_idle)
    assert sandbox.calls[-1].cancelled


async def test_a_refresh_is_cancelled_with_the_client(build: Build, sandbox: Sandbox, clock: Clock) -> None:
    client = build(**WHILE_RENEWED)
    await ask(client)
    clock.now += 6
    sandbox.faults.add(Fault("thread", hold="for ever"))
    assert (await ask(client)).origin is ResponseOrigin.STALE
    await asyncio.to_thread(sandbox.wait_for_calls, 2)
    await client.aclose()
    await asyncio.to_thread(sandbox.wait_until_idle)
    assert sandbox.calls[-1].cancelled


# stale-if-error


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (500, 501, 502, 503, 504)),
        Fault(status=502, body="<html>Bad gateway</html>", content_type="text/html"),
        Fault(drop="before"),
        Fault(drop="mid-body"),
        Fault(body=b'{"id": "th-'),
        Fault(body=b"<html>", content_type="text/html"),
        Fault(body=b" " * 70_000 + b"{}"),
    ],
    ids=lambda fault: f"{fault.status} {(fault.body or b'')[:16]!r} {fault.drop}",
)
async def test_a_stale_response_covers_a_failure_of_the_rest_api(
    build: Build, sandbox: Sandbox, clock: Clock, fault: Fault
) -> None:
    client = build(**IF_ERROR, upstream_max_body=65_536)
    await ask(client)
    sandbox.faults.add(fault)
    clock.now += 10
    answer = await ask(client)
    assert (answer.origin, answer.report.age, answer.body["status"]) == (ResponseOrigin.STALE, 10, "Open")
    # The first attempt on a kept connection that ends before a byte includes a second call on a new connection.
    calls = sandbox.count() - 1 - (fault.drop == "before")
    assert answer.report.attempts == calls, "it is retried as often as without the cache"
    sandbox.faults.clear()
    assert (await ask(client)).origin is ResponseOrigin.FETCHED


async def test_a_stale_response_covers_an_upstream_that_is_down(clock: Clock, counts: Counts, sandbox: Sandbox) -> None:
    given = {"upstream_identity": "passthrough", "cache_url": "memory://", **IF_ERROR}
    with BackgroundServer(sandbox_config(sandbox.app)) as server:
        client = build_client(settings(upstream_url=server.url, **given), counts, clock.timing)
        await ask(client)
    clock.now += 10
    async with client:
        assert (await ask(client)).origin is ResponseOrigin.STALE


@pytest.mark.parametrize("fault", [Fault(hold="for ever"), Fault(trickle=30)], ids=["silent", "slow"])
async def test_a_stale_response_is_served_before_the_deadline(
    build: Build, sandbox: Sandbox, clock: Clock, fault: Fault
) -> None:
    client = build(**IF_ERROR, upstream_read_timeout=60, breaker_min_volume=1)
    await ask(client)
    sandbox.faults.add(fault)
    clock.now += 10
    answers = await asyncio.gather(*(ask(client, seconds=1) for _ in range(5)))
    assert {each.origin for each in answers} == {ResponseOrigin.STALE}
    calls = sandbox.count()
    assert (await ask(client)).origin is ResponseOrigin.STALE
    assert sandbox.count() == calls, (
        "the circuit is open: a call that took too long is a failure, also with a stale response"
    )
    sandbox.faults.clear()


async def test_a_stale_response_covers_an_open_circuit_without_a_call(
    build: Build, sandbox: Sandbox, clock: Clock
) -> None:
    client = build(**IF_ERROR, breaker_min_volume=1, upstream_retries=0)
    await ask(client)
    await ask(client, "th-100")
    sandbox.faults.add(Fault("thread", status=500))
    clock.now += 10
    with pytest.raises(UpstreamError):
        await ask(client, "th-101")
    calls = sandbox.count()
    assert [(await ask(client, ident)).origin for ident in ("th-1", "th-100")] == [ResponseOrigin.STALE] * 2
    assert sandbox.count() == calls


async def test_a_stale_response_expires(build: Build, sandbox: Sandbox, clock: Clock) -> None:
    client = build(**IF_ERROR)
    await ask(client)
    sandbox.faults.add(Fault(status=500))
    clock.now += 64.9
    assert (await ask(client)).origin is ResponseOrigin.STALE
    clock.now += 0.1
    with pytest.raises(UpstreamError):
        await ask(client)


async def test_without_stale_if_error_a_failure_is_an_error(build: Build, sandbox: Sandbox, clock: Clock) -> None:
    client = build()
    await ask(client)
    sandbox.faults.add(Fault(status=500))
    clock.now += 5
    with pytest.raises(UpstreamError):
        await ask(client)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429])
async def test_a_client_error_is_never_covered(build: Build, sandbox: Sandbox, clock: Clock, status: int) -> None:
    """RFC 5861, section 4 names 500, 502, 503 and 504. A 429 asks callers to slow down, so they must get it."""
    client = build(**IF_ERROR)
    await ask(client)
    sandbox.faults.add(Fault(status=status))
    clock.now += 10
    if status == 404:
        assert (await ask(client)).body is None
        return
    with pytest.raises(GatewayError) as caught:
        await ask(client)
    assert caught.value.upstream is not None
    assert caught.value.upstream.status == status


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_withdrawn_entry_is_not_served_when_the_rest_api_fails_later(
    build: Build, sandbox: Sandbox, clock: Clock, status: int
) -> None:
    client = build(**IF_ERROR)
    await ask(client)
    clock.now += 10
    sandbox.faults.add(Fault(times=1, status=status), Fault(status=500))
    (first,) = await asyncio.gather(ask(client), return_exceptions=True)
    assert isinstance(first, (Unauthenticated, Forbidden)) or (isinstance(first, Answer) and first.body is None)
    with pytest.raises(UpstreamError):
        await ask(client)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_entry_that_a_refresh_finds_withdrawn_is_not_served(
    build: Build, sandbox: Sandbox, clock: Clock, status: int
) -> None:
    client = build(**WHILE_RENEWED)
    await ask(client)
    clock.now += 10
    sandbox.faults.add(Fault(times=1, status=status))
    while (answer := await ask(client)).origin is ResponseOrigin.STALE:
        await asyncio.to_thread(sandbox.wait_for_calls, 2)
        await asyncio.to_thread(sandbox.wait_until_idle)
    assert answer.origin is ResponseOrigin.FETCHED


@pytest.mark.parametrize("status", [408, 429, 500])
async def test_a_temporary_failure_withdraws_no_entry(
    build: Build, sandbox: Sandbox, clock: Clock, status: int
) -> None:
    client = build(**IF_ERROR, upstream_retries=0)
    await ask(client)
    clock.now += 10
    # A 408 on a kept connection means that it was idle for too long: the call goes out again on a new one.
    sandbox.faults.add(Fault(times=2 if status == 408 else 1, status=status), Fault(times=1, status=500))
    if status == 500:
        await ask(client)
    else:
        with pytest.raises(GatewayError):
            await ask(client)
        clock.now += 1  # after a 429, calls are held back for a second
    assert (await ask(client)).origin is ResponseOrigin.STALE


async def test_a_caller_without_a_stale_response_waits_until_the_deadline(build: Build, sandbox: Sandbox) -> None:
    client = build(**IF_ERROR)
    sandbox.faults.add(Fault(hold="for ever"))
    with pytest.raises(UpstreamTimeout):
        await ask(client, seconds=0.1)
    sandbox.faults.clear()


# the report to the client


def test_a_stale_response_is_marked_in_the_extensions(start: StartGateway, sandbox: Sandbox, clock: Clock) -> None:
    gateway = start(timing=clock.timing, cache_url="memory://", explain=True, upstream_retries=0, **IF_ERROR)
    document = '{ thread(id: "th-1") { id messages(first: 1) { totalCount } } }'
    assert "extensions" not in gateway.query(document)
    sandbox.faults.add(Fault("thread", status=500))
    clock.now += 12
    response = gateway.http.post("/graphql", json={"query": document}, headers={"gateway-explain": "1"}).json()
    assert "errors" not in response
    assert response["data"]["thread"]["id"] == "th-1"
    assert response["extensions"]["stale"] == [{"route": "/api/v1/thread/{id}", "ageSeconds": 12}]
    answers = {each["route"]: (each["source"], each["attempts"]) for each in response["extensions"]["upstream"]}
    assert answers == {"/api/v1/thread/{id}": ("stale", 1), "/api/v1/thread/{id}/messages": ("fetched", 1)}
    assert "stale" in gateway.query(document)["extensions"], "also without the header Gateway-Explain"


@pytest.mark.parametrize("turns", [3, 5, 10, 20, 40])
async def test_nothing_runs_any_more_once_the_client_is_closed(
    upstream: str, clock: Clock, redis: RedisServer | None, turns: int
) -> None:
    """A refresh that went on could open a connection to Redis that nothing closes."""
    place = {"cache_url": redis.url, "cache_timeout": 5} if redis else {"cache_url": "memory://"}
    windows = {"cache_secret": "sixteen or more letters", "cache_stale_while_revalidate": 5}
    chosen = settings(upstream_url=upstream, upstream_identity="passthrough", **place, **windows)
    client = build_client(chosen, timing=clock.timing)
    await ask(client)
    clock.now += 6
    assert (await ask(client)).origin is ResponseOrigin.STALE
    others = [asyncio.create_task(ask(client, f"th-{number}")) for number in range(100, 105)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.aclose()
    assert [each.get_name() for each in asyncio.all_tasks() if each not in {*others, asyncio.current_task()}] == []
    await asyncio.gather(*others, return_exceptions=True)
