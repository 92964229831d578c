"""The middleware that every request passes before its route.

It runs for every request, so it reads the raw headers of ASGI instead of building an object for each.
"""

import re
from collections.abc import Awaitable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.clock import RANDOM
from gateway.web.security.headers import with_security_headers
from gateway.web.shutdown import Draining

_HEADER = b"x-request-id"
_HARMLESS_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CLOSE = (b"connection", b"close")
_REQUESTS = ("http", "websocket")


def request_id(given: str | None) -> str:
    """Return the client's request id if it is harmless, else a new one of 16 characters."""
    if given is not None and _HARMLESS_ID.fullmatch(given):
        return given
    return f"{RANDOM.getrandbits(64):016x}"


class RequestId:
    """Gives each request an id, the client's own if it sent a harmless one, and returns it with the response.

    The response gets the security headers here as well: a layer of their own would cost each request microseconds.
    While the gateway drains, each response closes its connection: the client's next request opens a new one, which
    the load balancer directs to another gateway.
    """

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self.app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the id into ``scope["request_id"]`` and into the response's headers."""
        if scope["type"] not in _REQUESTS:
            await self.app(scope, receive, send)
            return
        given = None
        for name, value in scope["headers"]:
            if name == _HEADER:
                given = value.decode("latin-1")
                break
        identifier = scope["request_id"] = request_id(given)
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return

        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = message["headers"] = with_security_headers(message.get("headers", ()))
                headers.append((_HEADER, identifier.encode()))
                if self._draining.active:
                    headers.append(_CLOSE)
            return send(message)

        await self.app(scope, receive, send_with_id)


class ExactRoutes:
    """Passes a request for one of ``routes`` directly to its application, and any other to ``app``.

    ``sockets`` are the same for WebSockets. Starlette's router matches patterns and wraps exception handlers around
    them: a tenth of a small query's time.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, ASGIApp], sockets: Mapping[str, ASGIApp]) -> None:
        self.app = app
        self._routes: dict[str, Mapping[str, ASGIApp]] = {"http": dict(routes), "websocket": dict(sockets)}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Look up the exact path; the router handles any other."""
        routes = self._routes.get(scope["type"])
        route = None if routes is None else routes.get(scope["path"])
        return (self.app if route is None else route)(scope, receive, send)
