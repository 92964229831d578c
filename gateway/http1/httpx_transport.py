"""httpx around the same pool: for login, keys, checks and tests, so that there is one way to the network."""

from collections.abc import Callable, Iterable

import httpx

from gateway.http1.errors import (
    CallFailed,
    ConnectFailed,
    ConnectionBroken,
    ConnectTimedOut,
    InvalidRequest,
    InvalidResponse,
    OutOfDescriptors,
    ReadTimedOut,
    ResponseTooLarge,
)
from gateway.http1.messages import HeaderLines, Request, Response
from gateway.http1.origin import Origin
from gateway.http1.pool import Pool

_OF_THE_POOL = frozenset(
    {
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OF_THE_WIRE = frozenset({b"connection", b"content-encoding", b"content-length", b"keep-alive", b"transfer-encoding"})

# The first row that fits counts.
_ERRORS: tuple[tuple[type[CallFailed], type[httpx.TransportError]], ...] = (
    (InvalidRequest, httpx.LocalProtocolError),
    (ConnectTimedOut, httpx.ConnectTimeout),
    (ConnectFailed, httpx.ConnectError),
    (OutOfDescriptors, httpx.ConnectError),
    (ReadTimedOut, httpx.ReadTimeout),
    (ConnectionBroken, httpx.ReadError),
    (InvalidResponse, httpx.RemoteProtocolError),
    (ResponseTooLarge, httpx.RemoteProtocolError),
    (CallFailed, httpx.NetworkError),
)


class PoolTransport(httpx.AsyncBaseTransport):
    """Sends each request through the pool of its origin.

    ``new_pool`` makes the pool of an origin, given its URL, at the first request to it. Pools in ``shared`` are used
    where they fit, and stay open when this is closed. The connect and read timeouts are the request's; one of None is
    the pool's own, and httpx's other two are not used.
    """

    def __init__(self, new_pool: Callable[[str], Pool], shared: Iterable[Pool] = ()) -> None:
        self._new_pool = new_pool
        self._shared = {pool.origin: pool for pool in shared}
        self._pools: dict[Origin, Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, whole and decompressed; raise an httpx.TransportError."""
        try:
            response = await self._pool(request.url).send(_request(request, await request.aread()))
        except CallFailed as exc:
            raise translate(exc) from exc
        return httpx.Response(response.status, headers=headers_of(response), content=response.body, request=request)

    def _pool(self, url: httpx.URL) -> Pool:
        if url.scheme not in {"http", "https"} or not url.host:
            raise httpx.UnsupportedProtocol("Only http and https URLs with a host can be requested.")
        origin = Origin(url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80))
        pool = self._shared.get(origin) or self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = self._new_pool(str(origin))
        return pool

    async def aclose(self) -> None:
        """Close the pools that this opened."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()


def _request(request: httpx.Request, body: bytes) -> Request:
    timeouts = request.extensions.get("timeout", {})
    return Request(
        request.method,
        request.url.raw_path.decode("ascii"),
        headers=sendable(request.headers.raw),
        body=body,
        connect_timeout=timeouts.get("connect"),
        read_timeout=timeouts.get("read"),
    )


def sendable(fields: Iterable[tuple[bytes, bytes]]) -> HeaderLines:
    """Return the lines of a request's fields, without those that the pool writes itself; raise InvalidRequest."""
    return HeaderLines.of(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in fields if name.lower() not in _OF_THE_POOL
    )


def headers_of(response: Response) -> list[tuple[bytes, bytes]]:
    """Return the headers without those about the transfer: the body is complete and decompressed."""
    return [field for field in response.headers.items() if field[0] not in _OF_THE_WIRE]


def translate(exc: CallFailed) -> httpx.TransportError:
    """Return httpx's error for one of the pool's."""
    return next(theirs for ours, theirs in _ERRORS if isinstance(exc, ours))(str(exc))
