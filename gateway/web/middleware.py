"""What every request passes through before its route.

These run for every request, so they read the raw headers of ASGI rather than make an object for each.
"""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.telemetry import request_id
from gateway.web.security.headers import with_security_headers
from gateway.web.shutdown import Draining

_HEADER = b"x-request-id"
_CLOSE = (b"connection", b"close")


class RequestId:
    """Gives each request an id, the caller's own where it sent a harmless one, and returns it with the response.

    The response gets the headers that all have as well: a layer of their own would cost a request some microseconds.
    On the gateway's way out each answer closes its connection as well: the client's next request makes a new one, to
    whoever takes them then.
    """

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self.app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the id into ``scope["request_id"]`` and into the response's headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), None)
        identifier = scope["request_id"] = request_id(None if given is None else given.decode("latin-1"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = with_security_headers(message.get("headers", ()))
                headers.append((_HEADER, identifier.encode()))
                if self._draining.active:
                    headers.append(_CLOSE)
            await send(message)

        await self.app(scope, receive, send_with_id)


class ExactRoutes:
    """Hands a request for one of ``routes`` straight to its application, and anything else to ``app``.

    A router that tries patterns, and what it wraps around them, costs a small query a tenth of its time.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, ASGIApp]) -> None:
        self.app = app
        self._routes = dict(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look the path up as it is; what is only nearly right is for the router."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        await (self.app if route is None else route)(scope, receive, send)
