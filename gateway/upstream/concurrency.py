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
        self._waiting = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when there is a slot; the caller's deadline bounds the wait."""
        if self._slots.locked():
            await self._wait()
        else:
            await self._slots.acquire()
        try:
            return await self._following.handle_async_request(request)
        finally:
            self._slots.release()

    async def _wait(self) -> None:
        if self._waiting >= self._queue:
            raise UpstreamUnavailable("Too many calls wait for the REST API already.", retry_after=1.0)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
