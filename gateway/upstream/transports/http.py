"""The socket side of a REST call: an httpx transport over aiohttp's connection pool.

Why not httpx's own: its pool is searched anew for every request, and it carries a sixth of the calls.
Why not pyreqwest, which is faster still: a call that was cancelled goes on upstream until it times out, and keeps its
place in the pool. Why not the package httpx-aiohttp: it takes a refused connection for a timeout, and repeats a call
behind our back. The measurements are in tests/bench/transports.py.
"""

import ssl
from contextlib import suppress

import aiohttp
import httpx
from aiohttp.http_exceptions import ContentEncodingError, DecompressSizeError
from yarl import URL

from gateway.compat.httpx import WholeResponse
from gateway.errors import UpstreamInvalidResponse

_OF_THE_WIRE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_NO_TIMEOUTS: dict[str, float | None] = {}


class Connections(httpx.AsyncBaseTransport):
    """Sends one request on a pooled connection and reads the whole answer.

    The number of connections is bounded by the layer above. A body longer than ``max_body`` bytes is refused while it
    is read: the bytes are counted after decompression, so that a small answer cannot unfold into a large one.
    Redirects are not followed, cookies not kept, and the proxy variables of the environment not read. Cancelling a
    call closes its connection.
    """

    def __init__(self, max_body: int, verify: ssl.SSLContext | bool = True) -> None:
        self._max_body = max_body
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, whole; raise an httpx.TransportError, or UpstreamInvalidResponse for a long body."""
        session = self._session or self._open()
        timeout = request.extensions.get("timeout", _NO_TIMEOUTS)
        try:
            async with session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=timeout.get("connect"), sock_read=timeout.get("read")),
            ) as answer:
                body = await self._read(answer)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as exc:
            raise translate(exc) from exc
        return WholeResponse(answer.status, body, headers=_headers(answer), request=request)

    def _open(self) -> aiohttp.ClientSession:
        """Open the session: it belongs to the event loop of the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
        )
        # aiohttp repeats a GET by itself when a kept connection breaks. Repeating is for the layer that counts.
        self._session._retry_connection = False  # noqa: SLF001 - it has no public name
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
        length = answer.content_length
        if length is not None and length <= self._max_body and not encoded:
            return await answer.read()
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                answer.close()
                raise UpstreamInvalidResponse(f"The REST API's answer is larger than {self._max_body} bytes.")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            with suppress(aiohttp.ClientError):
                await self._session.close()
            self._session = None


def _headers(answer: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """Return the headers less those that speak of the bytes on the wire: the body here is decoded and whole."""
    return [(name, value) for name, value in answer.raw_headers if name.lower() not in _OF_THE_WIRE]


# The first row that fits counts.
_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[httpx.TransportError]], ...] = (
    ((aiohttp.ConnectionTimeoutError,), httpx.ConnectTimeout),
    ((TimeoutError,), httpx.ReadTimeout),
    ((aiohttp.ClientConnectorError,), httpx.ConnectError),
    ((aiohttp.ClientResponseError,), httpx.RemoteProtocolError),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError), httpx.LocalProtocolError),
    ((Exception,), httpx.ReadError),
)


def translate(exc: Exception) -> httpx.TransportError:
    """Return the httpx error for one of aiohttp's, without its text, which holds addresses."""
    if isinstance(exc, aiohttp.ClientPayloadError) and isinstance(
        exc.__cause__, (ContentEncodingError, DecompressSizeError)
    ):
        return httpx.RemoteProtocolError(type(exc).__name__)
    return next(ours for theirs, ours in _ERRORS if isinstance(exc, theirs))(type(exc).__name__)
