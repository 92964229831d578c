"""Bounds how many REST calls are under way at the same moment, and how many wait for their turn."""

import asyncio

import httpx

from gateway.errors import UpstreamUnavailable


class ConcurrencyLimit(httpx.AsyncBaseTransport):
    """Lets ``limit`` calls through at once, first come, first served.

    Where ``queue`` of them wait already, the next one fails at once with UpstreamUnavailable: a queue that only grows
    helps nobody, and takes the memory of those who could be served.
    """

    def __init__(self, following: httpx.AsyncBaseTransport, limit: int, queue: int) -> None:
        self._following = following
        self._slots = asyncio.Semaphore(limit)
        self._queue = queue
        self.under_way = 0
        """How many calls have a slot now."""
        self.waiting = 0
        """How many calls wait for one now."""
        self.shed = 0
        """How many calls found the queue full so far."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when there is a slot; the caller's deadline bounds the wait."""
        if self._slots.locked():
            await self._wait()
        else:
            await self._slots.acquire()
        self.under_way += 1
        try:
            return await self._following.handle_async_request(request)
        finally:
            self.under_way -= 1
            self._slots.release()

    async def _wait(self) -> None:
        if self.waiting >= self._queue:
            self.shed += 1
            raise UpstreamUnavailable("Too many calls wait for the REST API already.", retry_after=1.0)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
