"""One request and its answer on the wire: reading, writing in pieces, waiting, and breaking off."""

import asyncio
import socket
import struct
from collections.abc import Awaitable
from typing import Final
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from gateway.sandbox.http.response import Answer

TRANSPORT: Final = "gateway.transport"
"""The ASGI extension that holds the connection's asyncio transport, under the key `transport`."""


class DisconnectedError(Exception):
    """The client went away before it had the whole answer."""


class Exchange:
    """The request is read at once; its parts are attributes."""

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

    async def write(self, answer: Answer, piece: bytes, *, last: bool) -> None:
        """Send one piece of an answer's body, before the first one the status and the headers."""
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
        await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    async def pause(self, until: Awaitable[object]) -> None:
        """Wait for something, but no longer than the client does.

        Raises `DisconnectedError`: the client went away first.
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
        """Break the connection with a RST, after what was written so far has left."""
        transport: asyncio.Transport = self._scope["extensions"][TRANSPORT]["transport"]
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.001)
        # Closing with a linger time of 0 sends RST. A plain close sends FIN: that looks like a polite server.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await self._gone()

    @property
    def can_reset(self) -> bool:
        """Whether the server lets the app at its connection; `sandbox_config` makes one that does."""
        return TRANSPORT in self._scope.get("extensions", {})

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def raw_path(scope: Scope) -> str:
    """Return the path as it was sent; quoted anew where the server does not say."""
    sent: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if sent is None else sent.decode("latin-1")


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    headers = {"content-length": str(len(answer.body)), "content-type": answer.content_type, **answer.headers}
    if answer.bodiless:
        headers = dict(answer.headers)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
