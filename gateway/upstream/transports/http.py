"""The socket side of a REST call: an httpx transport over the connection pool of `gateway.http1`.

Why not a library: tests/bench/transports.py has the figures. httpx's own pool is searched for every request and carries
a fifth of the calls. aiohttp takes bytes that came on an idle connection for the answer to the next request, so that
one caller gets another's data. With pyreqwest a cancelled call continues upstream until it times out.
"""

from typing import TypeAlias

import httpx

from gateway.compat.httpx import WholeResponse
from gateway.errors import UpstreamInvalidResponse, UpstreamUnavailable
from gateway.http1 import (
    NO_HEADERS,
    CallFailed,
    OutOfDescriptors,
    Pool,
    Request,
    ResponseTooLarge,
)
from gateway.http1.httpx_transport import headers_of, sendable, translate

_Fields: TypeAlias = list[tuple[bytes, bytes]]
_AUTHORIZATION = b"authorization"
_NO_TIMEOUTS: dict[str, float | None] = {}


class HttpTransport(httpx.AsyncBaseTransport):
    """Sends one request through the pool, and returns the whole response.

    The pool belongs to the REST API's origin: the host in a request's URL is not looked at. It bounds the body, after
    decompression, and follows no redirect, stores no cookie and ignores proxy variables of the environment. Cancelling
    a call closes its connection.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # Almost every request has the same headers apart from its credential, so their lines are written once.
        self._fields: _Fields = []
        self._lines = NO_HEADERS

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the complete response.

        Raise an httpx.TransportError; UpstreamInvalidResponse for a long body; UpstreamUnavailable where this process
        has no file descriptor left, which says nothing about the REST API and so does not count against its circuit.
        """
        try:
            answer = await self._pool.send(self._outgoing(request))
        except ResponseTooLarge as exc:
            most = self._pool.settings.max_body
            raise UpstreamInvalidResponse(f"The REST API's answer is larger than {most} bytes.") from exc
        except OutOfDescriptors as exc:
            raise UpstreamUnavailable("The gateway has too many files open.", retry_after=1.0) from exc
        except CallFailed as exc:
            raise translate(exc) from exc
        return WholeResponse(answer.status, answer.body, headers=headers_of(answer), request=request)

    def _outgoing(self, request: httpx.Request) -> Request:
        authorization: str | None = None
        fields: _Fields = []
        for field in request.headers.raw:
            if field[0].lower() == _AUTHORIZATION:
                authorization = field[1].decode("latin-1")
            else:
                fields.append(field)
        if fields != self._fields:
            self._lines = sendable(fields)
            self._fields = fields
        timeouts = request.extensions.get("timeout", _NO_TIMEOUTS)
        return Request(
            request.method,
            request.url.raw_path.decode("ascii"),
            authorization,
            self._lines,
            request.content,
            timeouts.get("connect"),
            timeouts.get("read"),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
