"""Reads an answer's body to its end, inside the layers that may have to repeat the call."""

import httpx

from gateway.errors import UpstreamInvalidResponse


class BodyReader(httpx.AsyncBaseTransport):
    """Hands on responses that are whole: the body is in memory, the connection back in its pool.

    A body longer than ``limit`` bytes is refused while it is read (UpstreamInvalidResponse): the bytes are counted
    after decompression, so that a small answer cannot unfold into a large one.
    """

    def __init__(self, following: httpx.AsyncBaseTransport, limit: int) -> None:
        self._following = following
        self._limit = limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and read the answer; the stream is closed whatever happens."""
        response = await self._following.handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        return httpx.Response(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"],
            content=body,
            request=request,
        )

    async def _read(self, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > self._limit:
                raise UpstreamInvalidResponse(f"The REST API's answer is larger than {self._limit} bytes.")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
