"""Bounds how many REST calls are under way at the same moment."""

import asyncio

import httpx


class ConcurrencyLimit(httpx.AsyncBaseTransport):
    """Lets at most ``limit`` calls through at once; the others wait their turn, first come, first served."""

    def __init__(self, following: httpx.AsyncBaseTransport, limit: int) -> None:
        self._following = following
        self._slots = asyncio.Semaphore(limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when there is a slot; the caller's deadline bounds the wait."""
        async with self._slots:
            return await self._following.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
