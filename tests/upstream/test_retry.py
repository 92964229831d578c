"""Retries: what is retried, when, and how often."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.call import EXTENSION, Call, call_of
from gateway.upstream.transports.retry import Retry, RetryBudget, RetryPolicy
from gateway.upstream.transports.rolling_counts import RollingCounts
from tests.harness import Clock


class Script(httpx.AsyncBaseTransport):
    """An upstream that answers from a script; it repeats the last line."""

    def __init__(self, *lines: int | Exception | tuple[int, str]) -> None:
        self.lines = list(lines)
        self.sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        if isinstance(line, Exception):
            raise line
        status, retry_after = line if isinstance(line, tuple) else (line, None)
        headers = {} if retry_after is None else {"retry-after": retry_after}
        return httpx.Response(status, headers=headers, request=request)


async def send(script: Script, clock: Clock, *, method: str = "GET", seconds: float = 60, **policy: Any) -> int:
    """Return the status of the response."""
    deadline = asyncio.get_running_loop().time() + seconds
    request = httpx.Request(method, "http://x/", extensions={EXTENSION: Call("route", deadline)})
    response = await Retry(script, RetryPolicy(**policy), clock.timing).handle_async_request(request)
    assert call_of(request).attempts == script.sent
    return response.status_code


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_temporary_failure_is_retried(status: int) -> None:
    clock = Clock()
    assert await send(Script(status, status, 200), clock) == 200
    assert clock.slept == [0.05, 0.1]


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 409, 422, 500, 501])
async def test_any_other_response_is_final(status: int) -> None:
    script = Script(status)
    assert await send(script, Clock()) == status
    assert script.sent == 1


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadError, httpx.ConnectTimeout, httpx.ReadTimeout])
async def test_a_get_is_retried_after_connection_errors_and_timeouts(kind: type[httpx.TransportError]) -> None:
    assert await send(Script(kind("x"), 200), Clock()) == 200


@pytest.mark.parametrize("kind", [httpx.LocalProtocolError, httpx.RemoteProtocolError])
async def test_a_protocol_error_is_not_retried(kind: type[httpx.TransportError]) -> None:
    script = Script(kind("x"), 200)
    with pytest.raises(kind):
        await send(script, Clock())
    assert script.sent == 1


@pytest.mark.parametrize("line", [429, 502, 503, 504, httpx.ReadError("x"), httpx.ReadTimeout("x")])
async def test_a_post_that_was_sent_is_never_retried(line: int | Exception) -> None:
    script = Script(line, 200)
    await asyncio.gather(send(script, Clock(), method="POST"), return_exceptions=True)
    assert script.sent == 1


@pytest.mark.parametrize("line", [httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
async def test_a_post_is_retried_if_no_connection_was_established(line: Exception) -> None:
    assert await send(Script(line, 200), Clock(), method="POST") == 200


async def test_the_last_attempt_is_the_result() -> None:
    assert await send(Script(503, 502, 504, 200), Clock()) == 504


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [("3", [3.0]), ("0", [0.0]), ("Tue, 14 Nov 2023 22:13:27 GMT", [7.0]), ("soon", [0.05])],
)
async def test_retry_after_is_honoured_in_both_forms(retry_after: str, waited: list[float]) -> None:
    clock = Clock()  # it is 22:13:20
    assert await send(Script((503, retry_after), 200), clock) == 200
    assert clock.slept == waited


async def test_no_wait_begins_that_would_exceed_the_deadline() -> None:
    clock = Clock()
    assert await send(Script((429, "30"), 200), clock, seconds=10) == 429
    assert clock.slept == []


async def test_waits_are_bounded() -> None:
    clock = Clock()
    await send(Script(503), clock, attempts=8, longest_wait=1.0)
    assert clock.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_budget_is_a_tenth_of_the_calls_and_a_small_floor() -> None:
    clock = Clock()
    budget = RetryBudget(RetryPolicy(budget=0.1, floor=3, window=10), clock)
    assert [budget.take() for _ in range(5)] == [True] * 3 + [False] * 2
    for _ in range(100):
        budget.note_call()
    assert [budget.take() for _ in range(10)].count(True) == 7
    clock.now += 20
    assert [budget.take() for _ in range(5)] == [True] * 3 + [False] * 2


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_a_rolling_count_is_exact_to_a_tenth_of_the_window(events: list[tuple[float, bool]]) -> None:
    clock = Clock()
    counts = RollingCounts(10, clock)
    seen: list[tuple[float, bool]] = []
    for gap, marked in events:
        clock.now += gap
        counts.add(marked=marked)
        seen.append((clock.now, marked))
        surely = [mark for moment, mark in seen if moment > clock.now - 9]
        perhaps = [mark for moment, mark in seen if moment > clock.now - 10 - 1e-6]
        assert len(surely) <= counts.total <= len(perhaps)
        assert sum(surely) <= counts.marked <= sum(perhaps)
