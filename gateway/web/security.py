"""The headers that every answer has, unless it says otherwise itself.

``Strict-Transport-Security`` is not among them: it means nothing over plain HTTP (RFC 6797, section 7.2), and TLS ends
in front of the gateway. Whatever ends it says so.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = (
    (b"cache-control", b"no-store"),
    # An answer is data. Opened as a page it may run, load and be framed by nothing; embedded in one it is not readable.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class SecurityHeaders:
    """Adds to each response the headers that it does not have."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the response back with more headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                names = {name for name, _ in given}
                message["headers"] = [*given, *(each for each in _HEADERS if each[0] not in names)]
            await send(message)

        await self.app(scope, receive, send_with_headers)
