"""Retries: what is retried, when, and how often."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http1 import (
    CallFailed,
    ConnectFailed,
    ConnectionBroken,
    ConnectTimedOut,
    InvalidRequest,
    InvalidResponse,
    OutOfDescriptors,
    ReadTimedOut,
    Response,
    ResponseTooLarge,
    StrayResponse,
)
from gateway.upstream.call import RestRequest
from gateway.upstream.contract import THREAD, TOKEN
from gateway.upstream.transports.retry import Retry, RetryBudget, RetryPolicy
from gateway.upstream.transports.rolling_counts import RollingCounts
from tests.harness import Clock, rest_request, rest_response


class Script:
    """An upstream that answers from a script; it repeats the last line."""

    def __init__(self, *lines: int | Exception | tuple[int, str]) -> None:
        self.lines = list(lines)
        self.sent = 0

    async def send(self, _request: RestRequest) -> Response:
        self.sent += 1
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        if isinstance(line, Exception):
            raise line
        status, retry_after = line if isinstance(line, tuple) else (line, None)
        return rest_response(status) if retry_after is None else rest_response(status, retry_after=retry_after)

    async def aclose(self) -> None:
        pass


async def send(script: Script, clock: Clock, request: RestRequest | None = None, **policy: Any) -> int:
    """Return the status of the response."""
    request = request or rest_request()
    response = await Retry(script, RetryPolicy(**policy), clock.timing).send(request)
    assert request.call.attempts == script.sent
    return response.status


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


UNSENT = [
    ConnectFailed("x"),
    ConnectTimedOut("x"),
    ConnectionBroken("x", request_sent=False, response_begun=False),
]
SENT = [
    ReadTimedOut("x"),
    ConnectionBroken("x", request_sent=True, response_begun=False),
    ConnectionBroken("x", request_sent=True, response_begun=True),
    StrayResponse(),
]
FINAL = [InvalidRequest("x"), InvalidResponse("x"), ResponseTooLarge(1), OutOfDescriptors("x")]


def test_these_are_all_failures() -> None:
    assert {type(exc) for exc in UNSENT + SENT + FINAL} == set(_subclasses(CallFailed))


def _subclasses(kind: type[CallFailed]) -> Iterator[type[CallFailed]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


@pytest.mark.parametrize("failure", UNSENT + SENT, ids=repr)
async def test_a_get_is_retried_after_connection_errors_and_timeouts(failure: CallFailed) -> None:
    assert await send(Script(failure, 200), Clock()) == 200


@pytest.mark.parametrize("failure", FINAL, ids=repr)
async def test_what_would_fail_again_is_not_retried(failure: CallFailed) -> None:
    script = Script(failure, 200)
    with pytest.raises(type(failure)):
        await send(script, Clock())
    assert script.sent == 1


@pytest.mark.parametrize("line", [500, 502, 503, 504, 408, *SENT, *FINAL], ids=repr)
async def test_a_write_that_may_have_arrived_is_never_sent_again(line: int | Exception) -> None:
    script, request = Script(line, 200), rest_request(method="POST")
    await asyncio.gather(send(script, Clock(), request), return_exceptions=True)
    assert script.sent == 1
    assert request.call.in_doubt is (not isinstance(line, (InvalidRequest, OutOfDescriptors)))


@pytest.mark.parametrize("failure", UNSENT, ids=repr)
async def test_a_write_that_never_left_is_retried(failure: CallFailed) -> None:
    request = rest_request(method="POST")
    assert await send(Script(failure, 200), Clock(), request) == 200
    assert not request.call.in_doubt


async def test_a_write_that_got_a_429_is_sent_again_within_its_deadline() -> None:
    clock = Clock()
    assert await send(Script((429, "3"), 200), clock, rest_request(method="POST")) == 200
    assert clock.slept == [3.0]
    request = rest_request(method="POST", seconds=2)
    assert await send(Script((429, "3"), 200), clock, request) == 429
    assert not request.call.in_doubt


async def test_a_login_that_got_a_429_is_not_sent_again() -> None:
    """The login itself remembers it (tests/upstream/test_failed_login.py)."""
    script = Script(429, 200)
    assert await send(script, Clock(), rest_request(method="POST", route=TOKEN)) == 429


@pytest.mark.parametrize("status", [200, 204, 400, 401, 403, 404, 409, 422, 429])
async def test_a_2xx_or_4xx_leaves_no_doubt_about_a_write(status: int) -> None:
    request = rest_request(method="POST", seconds=0)
    assert await send(Script(status), Clock(), request) == status
    assert not request.call.in_doubt


@pytest.mark.parametrize("status", [301, 302, 303, 307, 408, 500, 502, 503, 504, 599])
async def test_any_other_response_leaves_a_write_in_doubt(status: int) -> None:
    request = rest_request(method="POST")
    assert await send(Script(status), Clock(), request) == status
    assert request.call.in_doubt


async def test_every_retry_is_counted() -> None:
    retry = Retry(Script(503), RetryPolicy(attempts=3), Clock().timing)
    for _ in range(2):
        await retry.send(rest_request())
    assert retry.retries == {THREAD.template: 4}


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
    assert await send(Script((429, "30"), 200), clock, rest_request(seconds=10)) == 429
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
