"""After a 429, later calls of the same route and credential are refused unsent until the time is over."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest

from gateway.auth import Viewer
from gateway.errors import RateLimited, UpstreamFailure
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.upstream.stack import Upstream
from gateway.upstream.transports.circuit_breaker import CircuitState
from gateway.upstream.transports.rate_limit_hold import RateLimitHolds
from tests.harness import Clock, build_upstream, rest_request, rest_response, settings
from tests.upstream.cached import ask


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
async def rest(upstream: str, clock: Clock, options: dict[str, Any]) -> AsyncIterator[Upstream]:
    chosen = settings(upstream_url=upstream, upstream_identity="passthrough", **options)
    built = build_upstream(chosen, timing=clock.timing)
    async with built.client:
        yield built


async def failure(rest: Upstream, ident: str, **options: Any) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await ask(rest.client, ident, **options)
    return caught.value


async def test_a_429_holds_back_what_comes_later(rest: Upstream, sandbox: Sandbox, clock: Clock) -> None:
    await ask(rest.client)
    sandbox.faults.add(Fault("thread", status=429, headers={"retry-after": "60"}))
    before = sandbox.count("thread")
    assert (await failure(rest, "th-100")).retry_after == 60
    clock.now += 20.5
    for number in range(50):
        held = await failure(rest, f"th-{number}")
        assert (held.retry_after, held.upstream) == (40, UpstreamFailure(429))
    assert sandbox.count("thread") == before + 1
    assert rest.holds.held.copy() == {"/api/v1/thread/{id}": 50}
    assert [circuit.state for circuit in rest.breaker.circuits] == [CircuitState.CLOSED]
    sandbox.faults.clear()
    clock.now += 40
    assert (await ask(rest.client, "th-100")).body["id"] == "th-100"


async def test_other_routes_and_credentials_go_on(rest: Upstream, sandbox: Sandbox) -> None:
    await ask(rest.client)
    sandbox.faults.add(Fault("thread", times=1, status=429, headers={"retry-after": "60"}))
    await failure(rest, "th-100")
    assert (await ask(rest.client, "cu-1", route="customer")).report.status == 200
    assert (await ask(rest.client, "th-1", route="messages")).report.status == 200
    token = sandbox.accounts.issue(USERNAME, PASSWORD)["access_token"]
    assert (await ask(rest.client, "th-100", viewer=Viewer(f"Bearer {token}"))).report.status == 200
    await failure(rest, "th-100")


async def test_the_longest_hold_counts_also_one_that_a_date_asks_for(clock: Clock) -> None:
    holds = RateLimitHolds(clock, clock)
    request = rest_request()
    for asked in (formatdate(clock.now + 60, usegmt=True), "5"):
        holds.note(request, rest_response(429, retry_after=asked))
    clock.now += 20
    with pytest.raises(RateLimited) as caught:
        holds.check(request)
    assert caught.value.retry_after == 40


async def test_a_hold_lasts_until_the_date_that_the_rest_api_names(
    rest: Upstream, sandbox: Sandbox, clock: Clock
) -> None:
    await ask(rest.client)
    date = formatdate(clock.now + 60, usegmt=True)
    sandbox.faults.add(Fault("thread", times=1, status=429, headers={"retry-after": date}))
    await failure(rest, "th-100")
    clock.now += 20
    assert (await failure(rest, "th-100")).retry_after == 40
    clock.now += 40
    assert (await ask(rest.client, "th-100")).report.status == 200


async def test_a_new_token_of_the_gateways_account_ends_no_hold(clock: Clock) -> None:
    holds = RateLimitHolds(clock, clock)
    holds.note(rest_request(authorization="Bearer old", account="service:us"), rest_response(429, retry_after="60"))
    with pytest.raises(RateLimited):
        holds.check(rest_request(authorization="Bearer new", account="service:us"))


@pytest.mark.parametrize("options", [{"upstream_retries": 0}])
async def test_a_429_without_a_time_holds_back_for_a_second(rest: Upstream, sandbox: Sandbox, clock: Clock) -> None:
    await ask(rest.client)
    sandbox.faults.add(Fault("thread", times=1, status=429))
    await failure(rest, "th-100")
    assert (await failure(rest, "th-101")).retry_after == 1
    clock.now += 1
    assert (await ask(rest.client, "th-100")).report.status == 200


async def test_a_retry_that_waited_as_asked_goes_out(rest: Upstream, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.faults.add(Fault("thread", times=1, status=429, headers={"retry-after": "2"}))
    assert (await ask(rest.client)).report.attempts == 2
    assert clock.slept == [2.0]


@pytest.mark.parametrize("options", [{"upstream_max_concurrency": 1}])
async def test_a_call_that_waits_for_a_slot_meanwhile_is_not_sent(rest: Upstream, sandbox: Sandbox) -> None:
    await ask(rest.client)
    before = sandbox.count("thread")
    sandbox.faults.add(Fault("thread", status=429, headers={"retry-after": "60"}, hold="all"))
    waiting = [asyncio.create_task(ask(rest.client, f"th-{number}")) for number in range(100, 120)]
    await asyncio.to_thread(sandbox.wait_for_calls, before + 1, "thread")
    sandbox.release("all")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {RateLimited}
    assert sandbox.count("thread") == before + 1


@pytest.mark.parametrize("options", [{"cache_url": "memory://", "cache_ttl_thread": 5, "cache_stale_if_error": 600}])
async def test_cached_responses_are_served_meanwhile_but_not_stale_ones(
    rest: Upstream, sandbox: Sandbox, clock: Clock
) -> None:
    """As for the 429 itself: it asks callers to slow down, so they must get it."""
    await ask(rest.client, "th-1")
    sandbox.faults.add(Fault("thread", status=429, headers={"retry-after": "60"}))
    await failure(rest, "th-100")
    assert (await ask(rest.client, "th-1")).report.origin == "cached"
    clock.now += 10
    assert (await failure(rest, "th-1")).retry_after == 50
