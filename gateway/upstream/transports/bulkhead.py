"""The bulkhead: bounds how many REST calls run at the same time, and how many wait for a slot.

Calls wait in one line per caller, and the lines are served in turn. A call that could not be answered before its
deadline is never sent: the answer would be thrown away, and the slot lost for a call that can be.

    call ──free slot──────────────────────────────────────────────▶ sent
      └──no slot──▶ room? expected wait within the deadline? ──yes──▶ waits ──its turn──▶ still in time? ──yes──▶ sent
                              └──no──▶ refused at once                                        └──no──▶ refused

The expected wait is (calls ahead + 1) x (average time a slot is held) / slots. A call is in time if its deadline leaves
the average time that its route takes to answer, plus twice the average deviation. Both averages start with the first
call that ends, and nothing is refused for its wait before. A free slot that is not reserved is always used, and an
average that has not been updated for a while is not used: so a route that was slow once is tried again.

While several callers send calls, one slot in sixteen is reserved for callers without a call under way: slots that were
taken together are often freed together, and then a caller with few calls would wait as long as a call takes. A caller
that is alone can use every slot.
"""

import asyncio
import math
from dataclasses import dataclass

from gateway.errors import UpstreamUnavailable
from gateway.http1 import Response
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.transports.fair_queue import FairQueue

_RESERVED = 1 / 16
_SEVERAL_CALLERS_SECONDS = 60.0
"""So long after a call of another caller than the one before, there are several."""
_WEIGHT = 1 / 16
_AVERAGE_LIFETIME_SECONDS = 10.0
_SAMPLE_SECONDS = 0.1
"""While slots are free, one call in this time is enough for the averages; while none is, every call counts."""


class MovingAverage:
    """The average of recent durations and their average deviation from it, in seconds."""

    __slots__ = ("_deviation", "_mean", "_updated")

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0
        self._updated = -math.inf

    def add(self, seconds: float, now: float) -> None:
        """Add a duration that ended now."""
        if now - self._updated > _AVERAGE_LIFETIME_SECONDS:
            self._mean, self._deviation = seconds, 0.0
        else:
            difference = seconds - self._mean
            self._mean += difference * _WEIGHT
            self._deviation += (abs(difference) - self._deviation) * _WEIGHT
        self._updated = now

    def mean(self, now: float) -> float:
        """Return the average; 0 while nothing recent is known."""
        return self._mean if now - self._updated <= _AVERAGE_LIFETIME_SECONDS else 0.0

    def most(self, now: float) -> float:
        """Return how long nearly all take; 0 while nothing recent is known."""
        return self.mean(now) + 2 * self._deviation if now - self._updated <= _AVERAGE_LIFETIME_SECONDS else 0.0


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that waits. ``granted`` becomes True with its slot, False if it can no longer be answered in time."""

    request: RestRequest
    granted: asyncio.Future[bool]
    caller: str
    """In whose turn the call got its slot."""


class Bulkhead:
    """Runs at most ``limit`` calls at once; at most ``queue`` calls wait. See the top of this file."""

    def __init__(self, following: Transport, limit: int, queue: int) -> None:
        self._following = following
        self._limit = limit
        self._free = limit
        self._reserved = math.ceil(limit * _RESERVED) if limit > 1 else 0
        self._busy: dict[str, int] = {}
        """By caller, how many calls have a slot."""
        self._last_caller = ""
        self._several_until = -math.inf
        self._queue: FairQueue[_Waiting] = FairQueue(queue)
        self._held = MovingAverage()
        self._answered: dict[str, MovingAverage] = {}
        self._next_sample_at = -math.inf
        self.shed = 0
        """How many calls were refused: the queue was full, or they could not be answered in time."""

    @property
    def in_flight(self) -> int:
        """How many calls have a slot now."""
        return self._limit - self._free

    @property
    def queued(self) -> int:
        """How many calls wait for a slot now."""
        return len(self._queue)

    async def send(self, request: RestRequest) -> Response:
        """Send the request when there is a slot; raise UpstreamUnavailable if there will be none in time."""
        call, caller = request.call, request.caller
        call.sent_at, answered = None, False
        if self._free > self._reserved_from(caller):
            self._take(caller)
        else:
            caller = await self._wait_for_slot(request)
        try:
            if call.before_send is not None:
                call.before_send()
            call.sent_at = asyncio.get_running_loop().time()
            response = await self._following.send(request)
            answered = True
            if call.on_status is not None:
                call.on_status(response.status)
        finally:
            if call.sent_at is not None and (not self._free or call.sent_at >= self._next_sample_at):
                self._sample(request.route.template, call.sent_at, answered=answered)
            self._give_back(caller)
        return response

    def _reserved_from(self, caller: str) -> int:
        """Return how many free slots this caller has to leave to others."""
        if caller and caller != self._last_caller:  # the gateway's own calls have no caller
            if self._last_caller:
                self._several_until = asyncio.get_running_loop().time() + _SEVERAL_CALLERS_SECONDS
            self._last_caller = caller
        return self._reserved_now() if caller in self._busy else 0

    def _reserved_now(self) -> int:
        return self._reserved if asyncio.get_running_loop().time() < self._several_until else 0

    def _take(self, caller: str) -> None:
        self._free -= 1
        self._busy[caller] = self._busy.get(caller, 0) + 1

    def _give_back(self, caller: str) -> None:
        self._free += 1
        if self._busy[caller] == 1:
            del self._busy[caller]
        else:
            self._busy[caller] -= 1
        if self._queue:
            self._pass_on()

    def _sample(self, route: str, sent_at: float, *, answered: bool) -> None:
        now = asyncio.get_running_loop().time()
        seconds = now - sent_at
        self._next_sample_at = now + _SAMPLE_SECONDS
        self._held.add(seconds, now)
        average = self._answered.get(route)
        if average is None:
            average = self._answered[route] = MovingAverage()
        # An answer that did not come would have taken longer: that says something only about a lower average.
        if answered or seconds > average.mean(now):
            average.add(seconds, now)

    async def _wait_for_slot(self, request: RestRequest) -> str:
        """Wait until a slot is taken for the call, and return in whose turn that was."""
        call, name = request.call, request.caller
        wait = self._expected_wait(name)
        if not self._queue.has_room(name) or not self._in_time(request, wait):
            raise self._refusal(wait)
        waiting = _Waiting(request, asyncio.get_running_loop().create_future(), name)
        self._queue.add(waiting, name)
        call.join_line = lambda caller: self._join_line(waiting, caller)
        try:
            granted = await waiting.granted
        except asyncio.CancelledError:
            if waiting.granted.cancelled():
                self._queue.remove(waiting)
            elif waiting.granted.result():  # the slot was granted just before the cancellation
                self._give_back(waiting.caller)
            raise
        finally:
            call.join_line = None
        if not granted:
            raise self._refusal(self._expected_wait(name))
        return waiting.caller

    def _join_line(self, waiting: _Waiting, caller: str) -> None:
        """Let a call also wait in the line of another caller who shares it."""
        if not waiting.granted.done() and self._queue.has_room(caller):
            self._queue.add(waiting, caller)

    def _pass_on(self) -> None:
        """Give the free slots to the next calls that can still be answered in time."""
        while self._free:
            found = self._queue.pop(self._busy if self._free <= self._reserved_now() else ())
            if found is None:
                return
            waiting, caller = found
            if waiting.granted.done():
                continue  # it is being cancelled
            in_time = self._in_time(waiting.request, 0.0)
            waiting.granted.set_result(in_time)
            if in_time:
                waiting.caller = caller
                self._take(caller)

    def _in_time(self, request: RestRequest, wait: float) -> bool:
        now = asyncio.get_running_loop().time()
        average = self._answered.get(request.route.template)
        return now + wait + (0.0 if average is None else average.most(now)) <= request.call.deadline

    def _expected_wait(self, caller: str) -> float:
        mean = self._held.mean(asyncio.get_running_loop().time())
        return (self._queue.ahead(caller) + 1) * mean / (self._limit - self._reserved_now())

    def _refusal(self, wait: float) -> UpstreamUnavailable:
        self.shed += 1
        return UpstreamUnavailable(
            "Too many calls wait for the REST API already.", retry_after=float(max(1, math.ceil(wait)))
        )

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
