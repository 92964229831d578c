"""The bulkhead: bounds how many REST calls run at the same time, and how many wait for a slot.

On its own although it is short: it is one layer of the stack, and each layer is one module.
"""

import asyncio

import httpx

from gateway.errors import UpstreamUnavailable


class Bulkhead(httpx.AsyncBaseTransport):
    """Runs at most ``limit`` calls at once, first in, first out.

    If ``queue`` calls already wait, the next one fails at once with UpstreamUnavailable: a longer queue would only
    delay every call and take memory.
    """

    def __init__(self, following: httpx.AsyncBaseTransport, limit: int, queue: int) -> None:
        self._following = following
        self._slots = asyncio.Semaphore(limit)
        self._queue = queue
        self.in_flight = 0
        """How many calls have a slot now."""
        self.queued = 0
        """How many calls wait for a slot now."""
        self.shed = 0
        """How many calls have failed because the queue was full."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when there is a slot; the caller's deadline bounds the wait."""
        if self._slots.locked():
            await self._wait_for_slot()
        else:
            await self._slots.acquire()
        self.in_flight += 1
        try:
            return await self._following.handle_async_request(request)
        finally:
            self.in_flight -= 1
            self._slots.release()

    async def _wait_for_slot(self) -> None:
        if self.queued >= self._queue:
            self.shed += 1
            raise UpstreamUnavailable("Too many calls wait for the REST API already.", retry_after=1.0)
        self.queued += 1
        try:
            await self._slots.acquire()
        finally:
            self.queued -= 1

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
