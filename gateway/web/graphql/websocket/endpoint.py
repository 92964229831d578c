"""The handshake of a WebSocket at ``/graphql``: who may open one, and with which subprotocol.

A refusal that a client can read needs an open socket: a browser shows a page nothing of an HTTP error. So a handshake
is accepted, and then closed with a code, except where a page of another site has caused it.
"""

from dataclasses import dataclass

import msgspec
from starlette.types import Message, Receive, Scope, Send

from gateway.execution.result import failed
from gateway.web.graphql.websocket.connection import Connection, SocketServices
from gateway.web.graphql.websocket.messages import SUBPROTOCOL
from gateway.web.request import HttpError, HttpRequest
from gateway.web.security.csrf import CsrfProtection
from gateway.web.shutdown import Draining

_KEPT_HEADERS = ("authorization", "x-api-key", "traceparent", "tracestate", "gateway-timeout", "gateway-explain")


@dataclass(frozen=True, slots=True)
class WebSocketEndpoint:
    """The ASGI application for WebSockets at ``/graphql``."""

    services: SocketServices
    csrf: CsrfProtection
    draining: Draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it is closed."""
        await receive()  # `websocket.connect`
        request = HttpRequest.of(scope, receive)
        try:
            self.csrf.require_allowed_origin(request.headers)
        except HttpError as exc:
            await _refuse(exc, request, send)
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send(_close(4406, "Subprotocol not acceptable: graphql-transport-ws is"))
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if self.draining.active:
            await send(_close(1012, "The gateway is shutting down"))
            return
        headers = {name: value for name, value in request.headers.items() if name in _KEPT_HEADERS}
        scope.clear()  # it lives as long as the socket, and nothing reads it any more: 3 KB with a browser's headers
        await self._serve(Connection(self.services, msgspec.structs.replace(request, headers=headers), send), receive)

    async def _serve(self, connection: Connection, receive: Receive) -> None:
        reporter = self.services.streams.reporter
        reporter.socket_opened()
        code = 1006
        try:
            code = await connection.serve(receive)
        finally:
            reporter.socket_closed(code)


def _close(code: int, reason: str) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


async def _refuse(exc: HttpError, request: HttpRequest, send: Send) -> None:
    """Answer the handshake with an HTTP error (ASGI, extension WebSocket Denial Response)."""
    body = msgspec.json.encode(failed(exc.error, request.id).payload)
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"x-request-id", request.id.encode())]
    await send({"type": "websocket.http.response.start", "status": exc.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
