"""One request and its response on a connection: reading, writing in pieces, waiting, and resetting."""

import asyncio
import socket
import struct
from collections.abc import Awaitable
from typing import Final
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from gateway.sandbox.http.response import Response

TRANSPORT: Final = "gateway.transport"
"""The ASGI extension that holds the connection's asyncio transport, under the key `transport`."""


class DisconnectedError(Exception):
    """The client disconnected before it had the whole response."""


class Exchange:
    """One request, whose parts are attributes. `read` adds the body."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path = raw_path(scope)
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.body = b""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False

    async def read(self) -> None:
        """Read the body of the request."""
        pieces = []
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        self.body = b"".join(pieces)

    async def write(self, response: Response, piece: bytes, *, last: bool) -> None:
        """Send one piece of a response's body, and the status and headers before the first one."""
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": response.status, "headers": _headers(response)})
        await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    def begin_status_line(self) -> None:
        """Send half of a status line: a response that begins, and that `reset` then breaks off."""
        transport: asyncio.Transport = self._scope["extensions"][TRANSPORT]["transport"]
        transport.write(b"HTTP/1.1 20")

    async def pause(self, until: Awaitable[object]) -> None:
        """Wait for something while the client is connected.

        Raises `DisconnectedError`: the client disconnected first.
        """
        wanted = asyncio.ensure_future(until)
        gone = asyncio.ensure_future(self._gone())
        try:
            done, _ = await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
            gone.cancel()
        if wanted not in done:
            raise DisconnectedError

    async def reset(self) -> None:
        """Reset the connection (RST) after everything written so far has been sent."""
        transport: asyncio.Transport = self._scope["extensions"][TRANSPORT]["transport"]
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        # Closing with a linger time of 0 sends RST. A plain close sends FIN, as an ordinary server does.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await self._gone()

    @property
    def can_reset(self) -> bool:
        """Whether the server gives the app its transport; one configured by `sandbox_config` does."""
        return TRANSPORT in self._scope.get("extensions", {})

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def raw_path(scope: Scope) -> str:
    """Return the path as it was sent, or the decoded path quoted again where the server does not pass it."""
    sent: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if sent is None else sent.decode("latin-1")


def _headers(response: Response) -> list[tuple[bytes, bytes]]:
    headers = {"content-length": str(len(response.body)), "content-type": response.content_type, **response.headers}
    if response.bodiless:
        headers = dict(response.headers)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
