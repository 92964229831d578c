"""What every request passes through before its route."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.telemetry import request_id

HEADER = "x-request-id"


class RequestId:
    """Gives each request an id, the caller's own where it sent a harmless one, and returns it with the response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the id into ``scope["request_id"]`` and into the response's headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identifier = scope["request_id"] = request_id(Headers(scope=scope).get(HEADER))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = identifier
            await send(message)

        await self.app(scope, receive, send_with_id)
