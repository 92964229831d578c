"""Identical calls under way at the same moment share one.

The key is what makes two calls identical: the credential that is sent, the method and the whole URL. So this layer
stands where every header is final, and two callers with different credentials never share anything.

The shared call is a task of its own, for those who wait for it come and go: one who hangs up leaves the others alone,
and when the last one is gone the call is cancelled.
"""

import asyncio
from dataclasses import dataclass

import httpx

from gateway.upstream.call import Origin, call_of

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[httpx.Response]
    request: httpx.Request
    waiting: int = 0


class Coalescing(httpx.AsyncBaseTransport):
    """Wraps a transport so that identical GETs at the same moment are one; see the top of this file."""

    def __init__(self, following: httpx.AsyncBaseTransport) -> None:
        self._following = following
        self._flights: dict[_Key, _Flight] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, or wait for the answer to one that is the same."""
        if request.method != "GET":
            return await self._following.handle_async_request(request)
        key = (request.headers.get("authorization"), str(request.url))
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key, request)
            return await self._wait(key, flight)
        return await self._join(key, flight, request)

    def _take_off(self, key: _Key, request: httpx.Request) -> _Flight:
        task = asyncio.ensure_future(self._following.handle_async_request(request))
        flight = self._flights[key] = _Flight(task, request)
        task.add_done_callback(lambda done: self._land(key, flight, done))
        return flight

    async def _join(self, key: _Key, flight: _Flight, request: httpx.Request) -> httpx.Response:
        call, leader = call_of(request), call_of(flight.request)
        # The shared call has as long as the most patient of those who wait for it.
        leader.deadline = max(leader.deadline, call.deadline)
        if leader.slow_at is not None and call.slow_at is not None:
            leader.slow_at = max(leader.slow_at, call.slow_at)
        call.origin = Origin.COALESCED
        try:
            return await self._wait(key, flight)
        finally:
            call.attempts, call.age = leader.attempts, leader.age
            if leader.origin is Origin.STALE:
                call.origin = Origin.STALE

    async def _wait(self, key: _Key, flight: _Flight) -> httpx.Response:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._leave(key, flight)  # who comes now starts anew, rather than join a call that ends
                flight.task.cancel()

    def _leave(self, key: _Key, flight: _Flight) -> None:
        """Let nobody join any more."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def purge(self, subject: str) -> None:
        """Let nobody join the calls about ``subject`` that are under way: their answers may be of before it changed.

        Those who wait for them already are served.
        """
        for key, flight in list(self._flights.items()):
            if call_of(flight.request).subject == subject:
                self._leave(key, flight)

    def _land(self, key: _Key, flight: _Flight, done: asyncio.Task[httpx.Response]) -> None:
        self._leave(key, flight)
        if not done.cancelled():
            done.exception()  # marks it as seen: everybody may have left

    async def aclose(self) -> None:
        """Give up what is under way, and close the transport that follows."""
        for flight in list(self._flights.values()):
            flight.task.cancel()
        await self._following.aclose()
