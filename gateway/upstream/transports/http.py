"""The socket side of a REST call: an httpx transport over aiohttp's connection pool.

httpx's own pool is searched for every request and carries a sixth of the calls. pyreqwest is faster still, but a
cancelled call continues upstream until it times out, and keeps its place in the pool. The package httpx-aiohttp reports
a refused connection as a timeout, and retries on its own. The measurements are in tests/bench/transports.py.
"""

import ssl
from contextlib import suppress

import aiohttp
import httpx
from yarl import URL

from gateway.compat.aiohttp import disable_hidden_retries, is_decoding_error
from gateway.compat.httpx import WholeResponse
from gateway.errors import UpstreamInvalidResponse

_TRANSFER_HEADERS = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_NO_TIMEOUTS: dict[str, float | None] = {}


class HttpTransport(httpx.AsyncBaseTransport):
    """Sends one request on a pooled connection and reads the whole response.

    The bulkhead bounds the number of connections. A body longer than ``max_body`` bytes is refused while it is read:
    bytes are counted after decompression, so that a small response cannot expand into a large one. Redirects are not
    followed, cookies are not stored, and proxy variables of the environment are ignored. Cancelling a call closes its
    connection.
    """

    def __init__(self, max_body: int, verify: ssl.SSLContext | bool = True) -> None:
        self._max_body = max_body
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the complete response; raise an httpx.TransportError, or UpstreamInvalidResponse for a long body."""
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
            ) as response:
                body = await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as exc:
            raise translate(exc) from exc
        return WholeResponse(response.status, body, headers=_headers(response), request=request)

    def _open(self) -> aiohttp.ClientSession:
        """Open the session: it belongs to the event loop of the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
        )
        disable_hidden_retries(self._session)  # the retry layer repeats calls, within its budget
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        length = response.content_length
        if length is not None and length <= self._max_body and not encoded:
            return await response.read()
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                response.close()
                raise UpstreamInvalidResponse(f"The REST API's answer is larger than {self._max_body} bytes.")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            with suppress(aiohttp.ClientError):
                await self._session.close()
            self._session = None


def _headers(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """Return the headers without those about the transfer: the body is already decoded and complete."""
    return [(name, value) for name, value in response.raw_headers if name.lower() not in _TRANSFER_HEADERS]


# The first matching row counts.
_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[httpx.TransportError]], ...] = (
    ((aiohttp.ConnectionTimeoutError,), httpx.ConnectTimeout),
    ((TimeoutError,), httpx.ReadTimeout),
    ((aiohttp.ClientConnectorError,), httpx.ConnectError),
    ((aiohttp.ClientResponseError,), httpx.RemoteProtocolError),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError), httpx.LocalProtocolError),
    ((Exception,), httpx.ReadError),
)


def translate(exc: Exception) -> httpx.TransportError:
    """Return the httpx error for an aiohttp error, without its text, which holds addresses."""
    if is_decoding_error(exc):
        return httpx.RemoteProtocolError(type(exc).__name__)
    return next(ours for theirs, ours in _ERRORS if isinstance(exc, theirs))(type(exc).__name__)
