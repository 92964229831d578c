"""Retries of temporary failures, bounded so that they do not make an outage worse.

A GET is retried after a connection error, a timeout, 429, 502, 503 and 504; a write only if nothing of it was sent, or
after a 429, which says that it was not carried out; the login only if nothing of it was sent. The wait is random
between zero and a bound that doubles (full jitter), or what ``Retry-After`` asks for. A retry must end its wait before
the deadline and fit the budget: at most a tenth more calls than without retries, so that a failing upstream gets hardly
any extra load.

    attempt ──final response──▶ done
       ▲  └──temporary failure──▶ attempts left? before the deadline? budget left? ──no──▶ done, with that failure
       └──────────wait──────────────────────────yes┘

Why not a library: tenacity 9.2 and stamina 26.1 have no budget shared by calls. They cost 42 and 54 us per call without
a retry, this 1.3 us (tests/bench/libraries.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import REAL_TIME, Timing
from gateway.http1 import CallFailed, InvalidRequest, InvalidResponse, OutOfDescriptors, Response, ResponseTooLarge
from gateway.telemetry import Counts
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.contract import TOKEN
from gateway.upstream.response import leaves_doubt, parse_retry_after
from gateway.upstream.transports.rolling_counts import RollingCounts

_TOO_MANY_REQUESTS = 429
_STATUSES = frozenset({_TOO_MANY_REQUESTS, 502, 503, 504})
# The next attempt would fail in the same way; or the process has no room for it.
_FINAL = (InvalidRequest, InvalidResponse, OutOfDescriptors, ResponseTooLarge)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon. Times are in seconds; ``budget`` is the share of retries per call in ``window``.

    ``floor`` retries per window are always allowed, even if there were few calls.
    """

    attempts: int = 3
    first_wait: float = 0.05
    longest_wait: float = 2.0
    budget: float = 0.1
    floor: int = 10
    window: float = 10.0


class RetryBudget:
    """Allows a retry while retries are a small share of the calls in a rolling window."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._events = RollingCounts(policy.window, clock)

    def note_call(self) -> None:
        """Count a call's first attempt."""
        self._events.add(marked=False)

    def take(self) -> bool:
        """Return whether a retry is allowed now, and count it if so."""
        retries = self._events.marked
        calls = self._events.total - retries
        if retries >= max(self._policy.floor, int(calls * self._policy.budget)):
            return False
        self._events.add(marked=True)
        return True


class Retry:
    """Wraps a transport with retries; see the top of this file."""

    def __init__(self, following: Transport, policy: RetryPolicy, timing: Timing = REAL_TIME) -> None:
        self._following = following
        self._policy = policy
        self._budget = RetryBudget(policy, timing.clock)
        self._timing = timing
        self.retries = Counts()
        """How many retries there were, by route."""

    async def send(self, request: RestRequest) -> Response:
        """Send the request, and retry where that may help; the result is that of the last attempt."""
        self._budget.note_call()
        call = request.call
        while True:
            call.attempts += 1
            try:
                response = await self._following.send(request)
            except CallFailed as exc:
                call.in_doubt = exc.request_sent
                if not _may_repeat(request, exc) or not await self._wait(request, None):
                    raise
            else:
                call.in_doubt = leaves_doubt(response.status)
                if not _is_temporary(request, response.status) or not await self._wait(request, response):
                    return response

    async def _wait(self, request: RestRequest, response: Response | None) -> bool:
        """Wait before the next attempt; return False at once if there must be none."""
        call = request.call
        if call.attempts >= self._policy.attempts:
            return False
        asked = None if response is None else parse_retry_after(response.header("retry-after"), now=self._timing.now)
        bound = min(self._policy.longest_wait, self._policy.first_wait * 2 ** (call.attempts - 1))
        wait = self._timing.jitter(bound) if asked is None else asked
        if asyncio.get_running_loop().time() + wait >= call.deadline or not self._budget.take():
            return False
        self.retries[request.route.template] += 1
        await self._timing.sleep(wait)
        return True

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


def _is_temporary(request: RestRequest, status: int) -> bool:
    """Whether the next response may be better, and a retry cannot apply a change twice."""
    if request.is_safe:
        return status in _STATUSES
    return status == _TOO_MANY_REQUESTS and request.route is not TOKEN


def _may_repeat(request: RestRequest, exc: CallFailed) -> bool:
    """Whether a retry may help, and cannot apply a change twice: the request only reads, or was never sent."""
    return not isinstance(exc, _FINAL) and (request.is_safe or not exc.request_sent)
