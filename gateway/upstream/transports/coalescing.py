"""Coalescing: identical calls at the same time share one request.

Calls are identical if the credential that is sent, the method and the target are equal. This layer therefore comes
after the credentials: callers with different credentials never share a response. A call that must be fresh shares none
either, because the running one may have been answered before.

The shared call runs in a task of its own. A waiting caller who is cancelled does not cancel it for the others; when the
last one is cancelled, so is the call.
"""

import asyncio
from dataclasses import dataclass

from gateway.http1 import Response
from gateway.upstream.call import ResponseOrigin, RestRequest, Transport

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _SharedCall:
    task: asyncio.Task[Response]
    request: RestRequest
    waiting: int = 0


class Coalescing:
    """Wraps a transport so that identical GETs at the same time are one; see the top of this file."""

    def __init__(self, following: Transport) -> None:
        self._following = following
        self._in_flight: dict[_Key, _SharedCall] = {}

    async def send(self, request: RestRequest) -> Response:
        """Send the request, or wait for the response to an identical one."""
        if not request.is_safe:
            return await self._following.send(request)
        key = (request.authorization, request.target)
        shared = self._in_flight.get(key)
        if shared is None:
            return await self._wait(key, self._start(key, request))
        return await self._join(key, shared, request)

    def _start(self, key: _Key, request: RestRequest) -> _SharedCall:
        task = asyncio.ensure_future(self._following.send(request))
        shared = self._in_flight[key] = _SharedCall(task, request)
        task.add_done_callback(lambda done: self._ended(key, shared, done))
        return shared

    async def _join(self, key: _Key, shared: _SharedCall, request: RestRequest) -> Response:
        call, leader = request.call, shared.request.call
        # The shared call runs until the latest deadline of all who wait for it.
        leader.deadline = max(leader.deadline, call.deadline)
        leader.timeout = max(leader.timeout, call.timeout)
        if leader.join_line is not None:
            leader.join_line(request.caller)  # else this caller would wait in the other's line
        call.origin = ResponseOrigin.COALESCED
        try:
            return await self._wait(key, shared)
        finally:
            call.attempts, call.age = leader.attempts, leader.age
            if leader.origin is ResponseOrigin.STALE:
                call.origin = ResponseOrigin.STALE

    async def _wait(self, key: _Key, shared: _SharedCall) -> Response:
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
            if shared.request.subject == subject:
                self._close(key, shared)

    def purge_everything(self) -> None:
        """Let no further call join any running one."""
        for key, shared in list(self._in_flight.items()):
            self._close(key, shared)

    def _ended(self, key: _Key, shared: _SharedCall, done: asyncio.Task[Response]) -> None:
        self._close(key, shared)
        if not done.cancelled():
            done.exception()  # marks it as retrieved: every waiting caller may be gone

    async def aclose(self) -> None:
        """Cancel the running calls, and close the transport that follows."""
        for shared in list(self._in_flight.values()):
            shared.task.cancel()
        await self._following.aclose()
