"""Coalescing: identical calls at the same time share one request.

Calls are identical if the credential that is sent, the method and the target are equal. This layer therefore comes
after the credentials: callers with different credentials never share a response. A call that must be fresh shares none
either, because the running one may have been answered before.

The first of them is sent in its own task, which the client keeps apart from its caller: a caller who leaves does not
cancel it for the others. When the last one has left, the call is cancelled.
"""

import asyncio
from dataclasses import dataclass

from gateway.http1 import Response
from gateway.upstream.call import ResponseOrigin, RestRequest, Transport

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _SharedCall:
    request: RestRequest
    response: asyncio.Future[Response] | None = None
    """For those that share it; None while there are none."""


class Coalescing:
    """Wraps a transport so that identical GETs at the same time are one; see the top of this file."""

    def __init__(self, following: Transport) -> None:
        self._following = following
        self._in_flight: dict[_Key, _SharedCall] = {}

    async def send(self, request: RestRequest) -> Response:
        """Send the request, or wait for the response to an identical one."""
        if not request.is_safe or request.fresh:
            return await self._following.send(request)
        key = (request.authorization, request.target)
        shared = self._in_flight.get(key)
        if shared is None or not shared.request.call.waiting:  # the second is being cancelled
            return await self._lead(key, request)
        return await self._share(shared, request)

    async def _lead(self, key: _Key, request: RestRequest) -> Response:
        shared = self._in_flight[key] = _SharedCall(request)
        try:
            response = await self._following.send(request)
        except asyncio.CancelledError:
            if shared.response is not None:
                shared.response.cancel()
            raise
        except Exception as exc:
            if shared.response is not None and not shared.response.done():
                shared.response.set_exception(exc)
                shared.response.exception()  # marks it as retrieved: all who share it may be gone
            raise
        finally:
            self._close(key, shared)
        if shared.response is not None and not shared.response.done():
            shared.response.set_result(response)
        return response

    async def _share(self, shared: _SharedCall, request: RestRequest) -> Response:
        call, leader = request.call, shared.request.call
        # The shared call runs until the latest deadline of all who wait for it.
        leader.deadline = max(leader.deadline, call.deadline)
        leader.timeout = max(leader.timeout, call.timeout)
        if leader.join_line is not None:
            leader.join_line(request.caller)  # else this caller would wait in the other's line
        call.origin = ResponseOrigin.COALESCED
        if shared.response is None:
            shared.response = asyncio.get_running_loop().create_future()
        leader.waiting += 1
        try:
            return await asyncio.shield(shared.response)
        finally:
            leader.leave()
            call.attempts, call.age = leader.attempts, leader.age
            if leader.origin is ResponseOrigin.STALE:
                call.origin = ResponseOrigin.STALE

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

    async def aclose(self) -> None:
        """Cancel the running calls and wait until they have ended, and close the transport that follows."""
        tasks = [task for shared in self._in_flight.values() if (task := shared.request.call.task) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._following.aclose()
