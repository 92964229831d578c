"""Coalescing: identical calls at the same time share one request.

Calls are identical if the credential that is sent, the method and the whole URL are equal. This layer therefore comes
after the credentials: callers with different credentials never share a response.

The shared call runs in a task of its own. A waiting caller who is cancelled does not cancel it for the others; when the
last one is cancelled, so is the call.
"""

import asyncio
from dataclasses import dataclass

import httpx

from gateway.upstream.call import ResponseOrigin, call_of

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _SharedCall:
    task: asyncio.Task[httpx.Response]
    request: httpx.Request
    waiting: int = 0


class Coalescing(httpx.AsyncBaseTransport):
    """Wraps a transport so that identical GETs at the same time are one; see the top of this file."""

    def __init__(self, following: httpx.AsyncBaseTransport) -> None:
        self._following = following
        self._in_flight: dict[_Key, _SharedCall] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, or wait for the response to an identical one."""
        if request.method != "GET":
            return await self._following.handle_async_request(request)
        key = (request.headers.get("authorization"), str(request.url))
        shared = self._in_flight.get(key)
        if shared is None:
            return await self._wait(key, self._start(key, request))
        return await self._join(key, shared, request)

    def _start(self, key: _Key, request: httpx.Request) -> _SharedCall:
        task = asyncio.ensure_future(self._following.handle_async_request(request))
        shared = self._in_flight[key] = _SharedCall(task, request)
        task.add_done_callback(lambda done: self._ended(key, shared, done))
        return shared

    async def _join(self, key: _Key, shared: _SharedCall, request: httpx.Request) -> httpx.Response:
        call, leader = call_of(request), call_of(shared.request)
        # The shared call runs until the latest deadline of all who wait for it.
        leader.deadline = max(leader.deadline, call.deadline)
        leader.timeout = max(leader.timeout, call.timeout)
        if leader.join_line is not None:
            leader.join_line(call.caller)  # else this caller would wait in the other's line
        call.origin = ResponseOrigin.COALESCED
        try:
            return await self._wait(key, shared)
        finally:
            call.attempts, call.age = leader.attempts, leader.age
            if leader.origin is ResponseOrigin.STALE:
                call.origin = ResponseOrigin.STALE

    async def _wait(self, key: _Key, shared: _SharedCall) -> httpx.Response:
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                self._close(key, shared)  # the next identical call must not join one that is being cancelled
                shared.task.cancel()

    def _close(self, key: _Key, shared: _SharedCall) -> None:
        """Let no further call join."""
        if self._in_flight.get(key) is shared:
            del self._in_flight[key]

    def purge(self, subject: str) -> None:
        """Let no further call join the running ones about ``subject``: their responses may predate its change.

        Callers that already wait get the response.
        """
        for key, shared in list(self._in_flight.items()):
            if call_of(shared.request).subject == subject:
                self._close(key, shared)

    def _ended(self, key: _Key, shared: _SharedCall, done: asyncio.Task[httpx.Response]) -> None:
        self._close(key, shared)
        if not done.cancelled():
            done.exception()  # marks it as retrieved: every waiting caller may be gone

    async def aclose(self) -> None:
        """Cancel the running calls, and close the transport that follows."""
        for shared in list(self._in_flight.values()):
            shared.task.cancel()
        await self._following.aclose()
