"""The circuit breaker: it opens, gives the upstream a pause, and closes again; retries add little load."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from gateway.auth import Viewer
from gateway.errors import GatewayError, UpstreamUnavailable
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.transports.circuit_breaker import BreakerPolicy, Circuit, CircuitState
from tests.harness import Clock, Gateway, build_client, settings

POLICY = BreakerPolicy(failure_rate=0.5, min_volume=4, window=10, pause=5)


def circuit(clock: Clock) -> Circuit:
    return Circuit("route", POLICY, clock)


def call(one: Circuit, *, failed: bool | None) -> None:
    one.record(failed=failed, probe=one.before_call())


def opened(clock: Clock) -> Circuit:
    one = circuit(clock)
    for _ in range(POLICY.min_volume):
        call(one, failed=True)
    return one


def test_it_opens_at_the_failure_rate_with_enough_calls() -> None:
    one = circuit(Clock())
    for failed in (True, False, True):
        call(one, failed=failed)
    states = [one.state]
    for failed in (False, True):
        call(one, failed=failed)
        states.append(one.state)
    # Three calls are below the minimum volume, and a success does not open the circuit.
    assert states == [CircuitState.CLOSED, CircuitState.CLOSED, CircuitState.OPEN]


def test_each_change_is_logged_with_the_route(caplog: pytest.LogCaptureFixture) -> None:
    opened(Clock())
    assert [each.message for each in caplog.records] == ["the circuit of route is open"]


def test_below_the_failure_rate_it_stays_closed() -> None:
    one = circuit(Clock())
    for number in range(100):
        call(one, failed=number % 3 == 2)
    assert one.state is CircuitState.CLOSED


def test_failures_outside_the_window_do_not_count() -> None:
    clock = Clock()
    one = circuit(clock)
    for _ in range(20):
        call(one, failed=True)
        clock.now += POLICY.window / 2
    assert one.state is CircuitState.CLOSED


def test_while_open_calls_fail_at_once_with_a_retry_after() -> None:
    clock = Clock()
    one = opened(clock)
    for seconds, retry_after in ((2, 3), (2, 1), (0.9, 1)):
        clock.now += seconds
        with pytest.raises(UpstreamUnavailable) as caught:
            one.before_call()
        assert caught.value.retry_after == retry_after
    assert (one.opened, one.refused) == (1, 3)


def test_after_the_pause_one_probe_goes_through_and_the_others_fail() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += POLICY.pause
    assert one.before_call() is True
    assert one.state is CircuitState.HALF_OPEN
    with pytest.raises(UpstreamUnavailable):
        one.before_call()


def test_a_probe_that_succeeds_closes_it_and_forgets_the_failures() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += POLICY.pause
    call(one, failed=False)
    assert one.state is CircuitState.CLOSED
    call(one, failed=True)
    assert one.state is CircuitState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_pause() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += POLICY.pause
    call(one, failed=True)
    assert (one.state, one.opened) == (CircuitState.OPEN, 2)
    with pytest.raises(UpstreamUnavailable):
        one.before_call()


def test_after_a_cancelled_probe_the_next_call_probes() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += POLICY.pause
    call(one, failed=None)
    assert one.before_call() is True


def test_a_call_from_before_the_circuit_opened_does_not_close_it() -> None:
    clock = Clock()
    one = circuit(clock)
    early = one.before_call()
    for _ in range(POLICY.min_volume):
        call(one, failed=True)
    one.record(failed=False, probe=early)
    assert one.state is CircuitState.OPEN


# in the stack, over real sockets


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(upstream: str, clock: Clock) -> AsyncIterator[UpstreamClient]:
    configured = settings(
        upstream_url=upstream,
        upstream_identity="service",
        upstream_username=USERNAME,
        upstream_password=PASSWORD,
        operation_timeout=5,
    )
    async with build_client(configured, timing=clock.timing) as built:
        yield built


async def ask(client: UpstreamClient, thread_id: str = "th-1", seconds: float = 5) -> str:
    """Return the code of the failure, or "ok"."""
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(deadline + 30):  # a machine that is busy may be late, but no call waits for ever
            await client.thread(CallContext(Viewer(None), deadline), thread_id)
    except GatewayError as exc:
        return exc.code
    return "ok"


async def test_partial_failures_add_little_load_and_recovery_is_complete(
    client: UpstreamClient, sandbox: Sandbox, clock: Clock
) -> None:
    """Half of the calls fail for a while, then none: the circuit opens and closes, and there are few retries."""
    await ask(client)
    sandbox.clear()
    asked, codes = 0, Counter[str]()
    for _ in range(20):
        sandbox.faults.add(Fault("thread", times=10, status=503))
        codes.update(await asyncio.gather(*(ask(client, f"th-{100 + number}") for number in range(20))))
        sandbox.faults.clear()
        asked += 20
        clock.now += 1
    assert set(codes) == {"ok", "UPSTREAM_UNAVAILABLE"}
    assert sum(codes.values()) == asked
    assert sandbox.count("thread") <= asked * 1.1 + 10, "at most a tenth more than the calls, plus the floor"
    assert sandbox.count("thread") < asked * 0.8, "an open circuit takes load off the upstream"
    clock.now += 5
    assert await ask(client) == "ok", "the probe"
    assert [await ask(client, f"th-{number}") for number in range(100, 150)] == ["ok"] * 50


async def test_an_open_circuit_affects_its_route_only_and_is_not_retried(
    client: UpstreamClient, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.faults.add(Fault("thread", status=500))
    codes = [await ask(client, f"th-{number}") for number in range(100, 130)]
    assert codes == ["UPSTREAM_ERROR"] * 20 + ["UPSTREAM_UNAVAILABLE"] * 10
    assert sandbox.count("thread") == 20, "one circuit for all threads, not one per thread"
    assert clock.slept == []
    deadline = asyncio.get_running_loop().time() + 5
    assert await client.customer(CallContext(Viewer(None), deadline), "cu-1") is not None


@pytest.mark.parametrize("drop", ["before", "mid-body"])
async def test_calls_without_a_response_open_the_circuit(client: UpstreamClient, sandbox: Sandbox, drop: str) -> None:
    """Retries count as well: the REST API has failed as often."""
    await ask(client)
    sandbox.faults.add(Fault("thread", drop=drop))
    codes = [await ask(client, f"th-{number}") for number in range(100, 130)]
    assert set(codes) == {"UPSTREAM_UNAVAILABLE"}
    assert sandbox.count("thread") <= 22
    sandbox.faults.clear()
    assert await ask(client) == "UPSTREAM_UNAVAILABLE"
    assert sandbox.count("thread") <= 22


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429])
async def test_client_errors_do_not_open_the_circuit(client: UpstreamClient, sandbox: Sandbox, status: int) -> None:
    sandbox.faults.add(Fault("thread", status=status, headers={"retry-after": "0"}))
    for number in range(100, 150):
        await ask(client, f"th-{number}")
    sandbox.faults.clear()
    assert await ask(client) == "ok"


@pytest.mark.parametrize("callers", [1, 2])
async def test_calls_that_exceed_the_deadline_open_the_circuit(
    client: UpstreamClient, sandbox: Sandbox, callers: int
) -> None:
    await ask(client)
    sandbox.faults.add(Fault("thread", hold="for ever"))
    asked = [f"th-{number}" for number in range(100, 125)] * callers
    codes = await asyncio.gather(*(ask(client, ident, seconds=1) for ident in asked))
    assert set(codes) == {"UPSTREAM_TIMEOUT"}
    sandbox.faults.clear()
    assert await ask(client) == "UPSTREAM_UNAVAILABLE"


async def test_cancelled_calls_do_not_count(client: UpstreamClient, sandbox: Sandbox) -> None:
    await ask(client)
    sandbox.faults.add(Fault("thread", hold="for ever"))
    waiting = [asyncio.create_task(ask(client, f"th-{number}")) for number in range(100, 140)]
    await asyncio.to_thread(sandbox.wait_for_calls, 41, "thread")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    sandbox.faults.clear()
    assert await ask(client) == "ok"


async def test_a_short_deadline_of_a_caller_does_not_open_the_circuit(gateway: Gateway, sandbox: Sandbox) -> None:
    """The caller chooses how long to wait; the gateway's own timeout decides whether the REST API is too slow."""
    gateway.data('{ thread(id: "th-1") { id } }')
    sandbox.faults.add(Fault("thread", hold="for ever"))
    ids = [f"th-{number}" for number in range(100, 140)]
    body = {"query": "query ($ids: [ID!]!) { threads(ids: $ids) { id } }", "variables": {"ids": ids}}
    answer = await asyncio.to_thread(gateway.http.post, "/graphql", json=body, headers={"gateway-timeout": "0.2"})
    codes = {error["extensions"]["code"] for error in answer.json()["errors"]}
    assert codes == {"UPSTREAM_TIMEOUT"}
    sandbox.faults.clear()
    assert gateway.data('{ thread(id: "th-1") { id } }') == {"thread": {"id": "th-1"}}
