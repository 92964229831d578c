"""One greedy caller beside a modest one: the modest one hardly notices, and no slot is spent on lost answers.

The API is a real server that answers every call after the same time. Calls that wait for a slot say nothing about it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import Viewer
from gateway.errors import GatewayError, Unauthenticated, UpstreamTimeout, UpstreamUnavailable
from gateway.http1 import Response
from gateway.upstream.call import Call, RestRequest
from gateway.upstream.client import CallContext
from gateway.upstream.stack import Upstream
from gateway.upstream.transports.bulkhead import Bulkhead
from gateway.upstream.transports.circuit_breaker import CircuitState
from tests.harness import ClockedLoop, build_upstream, rest_request, rest_response, settings

ANSWER_SECONDS = 0.2
TIMEOUT_SECONDS = 1.0
SLOTS = 4
GREEDY_CALLS = 60
TRIES = 5
NUMBERS = count()
A, B = Viewer("Bearer a", "A"), Viewer("Bearer b", "B")


class SteadyApi:
    """A REST API that answers every call after ``seconds``, and counts the answers that were not taken."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.received = 0
        self.thrown_away = 0
        self.answered = asyncio.Event()
        """Set at the next answer."""
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self.closed.is_set():
                await reader.readuntil(b"\r\n\r\n")
                self.received += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.seconds):
                        await self.closed.wait()
                self.thrown_away += reader.at_eof() or writer.is_closing()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
                self.answered.set()
                self.answered = asyncio.Event()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(seconds: float, **overrides: Any) -> AsyncIterator[tuple[SteadyApi, Upstream]]:
    """Run the API and the REST side of a gateway in front of it."""
    api = SteadyApi(seconds)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    chosen = settings(
        upstream_url=f"http://127.0.0.1:{port}",
        upstream_identity="passthrough",
        upstream_max_concurrency=SLOTS,
        operation_timeout=TIMEOUT_SECONDS,
        breaker_min_volume=5,
        **overrides,
    )
    upstream = build_upstream(chosen)
    async with server, upstream.client:
        yield api, upstream
        api.closed.set()


async def ask(upstream: Upstream, viewer: Viewer) -> tuple[float, GatewayError | None]:
    """Return how long a call for a new thread took, and how it failed."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    caller = CallContext(viewer, begun + TIMEOUT_SECONDS, timeout=TIMEOUT_SECONDS)
    try:
        await upstream.client.thread(caller, f"th-{next(NUMBERS)}")
    except GatewayError as exc:
        return loop.time() - begun, exc
    return loop.time() - begun, None


@asynccontextmanager
async def greedy(api: SteadyApi, upstream: Upstream) -> AsyncIterator[list[GatewayError]]:
    """Keep many calls of A under way; a refused one asks again with the next answer of the API."""
    failures: list[GatewayError] = []

    async def ask_again_and_again() -> None:
        while True:
            _, failure = await ask(upstream, A)
            if failure is not None:
                failures.append(failure)
                await api.answered.wait()

    tasks = [asyncio.create_task(ask_again_and_again()) for _ in range(GREEDY_CALLS)]
    try:
        for _ in range(2 * SLOTS):
            await api.answered.wait()
        yield failures
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def undisturbed(attempt: Callable[[], Awaitable[None]]) -> None:
    """Run a test that measures until it holds, at most `TRIES` times: a busy machine makes every call look slow."""
    for _ in range(TRIES - 1):
        with suppress(AssertionError):
            return await attempt()
    return await attempt()


@pytest.mark.slow
async def test_a_modest_caller_hardly_notices_a_greedy_one() -> None:
    await undisturbed(_modest_beside_greedy)


async def _modest_beside_greedy() -> None:
    async with serving(ANSWER_SECONDS) as (api, upstream):
        alone = [await ask(upstream, B) for _ in range(6)]
        async with greedy(api, upstream) as failures:
            beside = [await ask(upstream, B) for _ in range(10)]
            lost, received = api.thrown_away, api.received
    assert [failure for _, failure in alone + beside if failure] == []
    usual = median(seconds for seconds, _ in alone)
    assert median(seconds for seconds, _ in beside) <= 1.5 * usual
    assert sum(seconds > 2 * usual for seconds, _ in beside) <= 1, "the machine may hold up one"
    assert [(each.state, each.opened) for each in upstream.breaker.circuits] == [(CircuitState.CLOSED, 0)]
    assert received > 10 * SLOTS
    assert lost <= 0.05 * received
    assert {type(each) for each in failures} <= {UpstreamUnavailable, UpstreamTimeout}
    refused = [each for each in failures if isinstance(each, UpstreamUnavailable)]
    assert len(refused) > 0.9 * len(failures)
    assert all(each.retry_after for each in refused)


async def test_time_in_the_queue_says_nothing_about_the_route() -> None:
    """All slots are taken for longer than the operations last: those that wait time out, and no circuit opens."""
    async with serving(60, breaker_failure_rate=0.01) as (api, upstream):
        async with asyncio.TaskGroup() as group:
            first = [group.create_task(ask(upstream, A)) for _ in range(SLOTS)]
            waiting = [group.create_task(ask(upstream, B)) for _ in range(40)]
        assert api.received <= SLOTS
        assert {type(task.result()[1]) for task in first + waiting} <= {UpstreamTimeout, UpstreamUnavailable}
        (circuit,) = upstream.breaker.circuits
        assert circuit.state is CircuitState.CLOSED, (
            "four calls are below the minimum volume, and forty were never sent"
        )


@pytest.mark.slow
async def test_a_call_whose_expected_wait_exceeds_its_deadline_is_refused_at_once() -> None:
    await undisturbed(_refused_at_once)


async def _refused_at_once() -> None:
    async with serving(ANSWER_SECONDS) as (api, upstream):
        await ask(upstream, B)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(upstream, A)) for _ in range(GREEDY_CALLS)]
        results = [task.result() for task in asked]
    refused = [(seconds, failure) for seconds, failure in results if isinstance(failure, UpstreamUnavailable)]
    in_time = SLOTS * TIMEOUT_SECONDS / ANSWER_SECONDS
    assert api.received <= in_time + 1
    assert len(refused) >= GREEDY_CALLS - in_time
    assert sum(seconds < ANSWER_SECONDS / 2 for seconds, _ in refused) >= GREEDY_CALLS - 2 * in_time
    assert {failure.retry_after for _, failure in refused} == {1.0}


# the bulkhead by itself


class Gate:
    """An upstream that answers each call when the test says so, and logs the calls in their order."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.open: list[asyncio.Future[None]] = []

    async def send(self, request: RestRequest) -> Response:
        self.sent.append(request.target[1:])
        self.open.append(answer := asyncio.get_running_loop().create_future())
        await answer
        return rest_response()

    async def aclose(self) -> None:
        pass


def send(bulkhead: Bulkhead, name: str, caller: str, **options: Any) -> asyncio.Task[Response]:
    call = Call(asyncio.get_running_loop().time() + 60, **options)
    return asyncio.create_task(bulkhead.send(rest_request(f"/{name}", call=call, caller=caller)))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_are_served_in_turn() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=1, queue=100)
    names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]
    calls = [send(bulkhead, name, name[0]) for name in names]
    await settled()
    for _ in names:
        gate.open[-1].set_result(None)
        await settled()
    await asyncio.gather(*calls)
    assert gate.sent == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_a_slot_is_reserved_for_a_caller_without_a_call_while_there_are_several() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=4, queue=100)
    alone = [send(bulkhead, f"a{number}", "a") for number in range(6)]
    await settled()
    assert gate.sent == ["a0", "a1", "a2", "a3"], "a caller that is alone uses every slot"
    modest = send(bulkhead, "b0", "b")
    await settled()
    gate.open[0].set_result(None)
    await settled()
    assert gate.sent[4:] == ["b0"], "the first slot that is freed is for a caller without a call"
    for answer in gate.open[1:3]:
        answer.set_result(None)
    await settled()
    assert gate.sent[5:] == ["a4"]
    assert (bulkhead.in_flight, bulkhead.queued) == (3, 1), "one slot is left free"
    other = send(bulkhead, "c0", "c")
    await settled()
    assert gate.sent[6:] == ["c0"]
    while not all(each.done() for each in (*alone, modest, other)):
        for answer in gate.open:
            if not answer.done():
                answer.set_result(None)
        await settled()
    assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)


STEPS = st.lists(st.tuples(st.sampled_from(["send", "answer", "cancel"]), st.integers(0, 40)), max_size=80)


@given(steps=STEPS, limit=st.integers(1, 5), callers=st.integers(1, 4))
def test_no_slot_is_lost_and_nobody_waits_beside_a_slot_that_is_theirs(
    steps: list[tuple[str, int]], limit: int, callers: int
) -> None:
    async def run() -> None:
        gate = Gate()
        bulkhead = Bulkhead(gate, limit=limit, queue=100)
        calls: list[asyncio.Task[Response]] = []
        for step, number in steps:
            if step == "send":
                calls.append(send(bulkhead, f"c{len(calls)}", "ABCD"[number % callers]))
            elif step == "answer" and (waiting := [each for each in gate.open if not each.done()]):
                waiting[number % len(waiting)].set_result(None)
            elif step == "cancel" and calls:
                calls[number % len(calls)].cancel()
            await settled()
            reserved = 1 if limit > 1 and callers > 1 else 0
            assert not bulkhead.queued or bulkhead.in_flight >= limit - reserved
        while not all(each.done() for each in calls):
            for answer in gate.open:
                if not answer.done():
                    answer.set_result(None)
            await settled()
        assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize("moment", range(6))
async def test_a_call_cancelled_at_any_moment_loses_no_slot(moment: int) -> None:
    """Before it waits, while it waits, in the very turn in which it gets its slot, and while it is sent."""
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=1, queue=100)
    first = send(bulkhead, "first", "A")
    await settled()
    cancelled, last = send(bulkhead, "cancelled", "A"), send(bulkhead, "last", "A")
    for step in range(6):
        if step == 3:
            gate.open[0].set_result(None)
        if step == moment:
            cancelled.cancel()
        await asyncio.sleep(0)
    await settled()
    assert gate.sent[-1] == "last"
    gate.open[-1].set_result(None)
    await asyncio.gather(first, last)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)


async def test_a_check_before_sending_is_made_with_the_slot_and_gives_it_back() -> None:
    gate = Gate()
    bulkhead = Bulkhead(gate, limit=1, queue=100)

    def refuse() -> None:
        assert bulkhead.in_flight == 1
        raise Unauthenticated

    first = send(bulkhead, "first", "A")
    refused = send(bulkhead, "refused", "A", before_send=refuse)
    last = send(bulkhead, "last", "A")
    await settled()
    assert not refused.done()
    gate.open[0].set_result(None)
    await settled()
    gate.open[1].set_result(None)
    await asyncio.gather(first, last)
    with pytest.raises(Unauthenticated):
        await refused
    assert gate.sent == ["first", "last"]
    assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)


# Each call: how many seconds it takes, and whether its response comes or its caller leaves.
FAST, SLOW, LEFT_EARLY, LEFT_LATE = (0.01, True), (0.2, True), (0.01, False), (0.2, False)


@pytest.mark.parametrize(
    ("calls", "is_refused"),
    [
        (20 * [SLOW] + 100 * [FAST], False),
        (100 * [FAST] + 40 * [SLOW], True),
        (20 * [SLOW] + 100 * [LEFT_EARLY], True),
        (100 * [FAST] + 40 * [LEFT_LATE], True),
    ],
    ids=["they became fast", "they became slow", "callers left early", "callers left late"],
)
def test_a_call_is_refused_where_the_latest_ones_took_longer_than_it_has(
    calls: list[tuple[float, bool]], is_refused: bool
) -> None:
    """A caller that leaves early says nothing about how long a response takes; one that waited long does."""
    loop = ClockedLoop()

    async def ask() -> bool:
        gate = Gate()
        bulkhead = Bulkhead(gate, limit=4, queue=1)
        under_way = [send(bulkhead, "long", "a") for _ in range(3)]
        for seconds, is_answered in calls:
            call = send(bulkhead, "call", "a")
            await settled()
            loop.now += seconds
            gate.open[-1].set_result(None) if is_answered else call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        under_way.append(send(bulkhead, "long", "a"))
        await settled()
        request = rest_request(call=Call(loop.now + 0.1), caller="a")
        call = asyncio.create_task(bulkhead.send(request))
        await settled()
        is_done = call.done()
        for each in (*under_way, call):
            each.cancel()
        outcome, *_ = await asyncio.gather(call, *under_way, return_exceptions=True)
        assert is_done == isinstance(outcome, UpstreamUnavailable)
        return is_done

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(ask()) is is_refused
