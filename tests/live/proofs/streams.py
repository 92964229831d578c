"""Clients that cost little: thousands run on one core, beside the gateway that they measure.

One speaks ``graphql-transport-ws`` over as much of RFC 6455 as the gateway needs: whole text messages, masked with
zeros, and no extension. The other reads server-sent events. Each has one subscription on a connection of its own.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

SECONDS = 30.0
"""The longest that a proof waits for something that has to happen."""

LOST = 1006
"""The code of a connection that ended without one (RFC 6455, section 7.4.1)."""

S = TypeVar("S", bound="Stream")

_TEXT, _CLOSE = 0x1, 0x8
_PONG = b'{"type":"pong"}'
_EVENT = b"event: next\ndata: "
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Watch:
    """What a client watches, and with which credentials."""

    query: str
    variables: dict[str, Any] | None = None
    authorization: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the operation."""
        return {"query": self.query, "variables": self.variables}


class Stream(asyncio.Protocol):
    """A client with one subscription. ``took`` is called with each result, which is encoded."""

    def __init__(self, url: str, watched: Watch, took: Callable[[bytes], None] = lambda _result: None) -> None:
        self.results = 0
        self.payload = b""
        """The last result, encoded."""
        self.arrived = 0.0
        """When it came, by the monotonic clock."""
        self.problem: bytes | None = None
        """The last message that is no result: an error, or the end of the subscription."""
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The code with which the connection was closed."""
        self._host = urlsplit(url).netloc
        self._watched = watched
        self._took = took
        self._buffer = bytearray()
        self._is_open = False
        self._waiter: tuple[Callable[[bytes], bool], asyncio.Future[float]] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.request())

    def data_received(self, data: bytes) -> None:
        """Read the head of the response, and then what follows."""
        self._buffer += data
        if not self._is_open:
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            if head.split(b" ", 2)[1] not in {b"101", b"200"}:
                self.problem = bytes(self._buffer)
                self._transport.abort()
                return
            self._is_open, self._buffer = True, bytearray(rest)
            self.opened()
        self.read(self._buffer)

    def request(self) -> bytes:
        """Return the request with which it begins."""
        raise NotImplementedError

    def opened(self) -> None:
        """Do what follows the head of the response."""

    def read(self, buffer: bytearray) -> None:
        """Take what is complete out of the buffer."""
        raise NotImplementedError

    def take(self, result: bytes) -> None:
        """Note a result."""
        self.results += 1
        self.payload = result
        self.arrived = time.monotonic()
        self._took(result)
        if self._waiter is not None and self._waiter[0](result):
            waiter, self._waiter = self._waiter[1], None
            if not waiter.done():
                waiter.set_result(self.arrived)

    def end(self, code: int) -> None:
        """Note that the connection ends."""
        if not self.closed.done():
            self.closed.set_result(code)
        if self._waiter is not None and not self._waiter[1].done():
            self._waiter[1].set_exception(ConnectionError(f"closed with {code}; before that: {self.problem!r}"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Note that the connection is gone."""
        self.end(LOST)

    async def until(self, holds: Callable[[bytes], bool]) -> float:
        """Return when a result came for which ``holds`` is true: the last one, or one to come.

        Raises ConnectionError where the connection ends before, TimeoutError where none comes.
        """
        if self.results and holds(self.payload):
            return self.arrived
        if self.closed.done():
            raise ConnectionError(f"closed with {self.closed.result()}; before that: {self.problem!r}")
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiter = holds, waiter
        async with asyncio.timeout(SECONDS):
            return await waiter

    def stall(self) -> None:
        """Take nothing any more."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Take what there is again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def hang_up(self) -> None:
        """Cut the connection, without a close."""
        self._transport.abort()


class SocketStream(Stream):
    """A WebSocket."""

    def request(self) -> bytes:
        """Return the handshake."""
        lines = [
            "GET /graphql HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: graphql-transport-ws",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def opened(self) -> None:
        """Initialise the connection."""
        authorization = self._watched.authorization
        self._send({"type": "connection_init", "payload": authorization and {"authorization": authorization}})

    def read(self, buffer: bytearray) -> None:
        """Take whole frames (RFC 6455, section 5.2)."""
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(buffer[2:start], "big")
            if len(buffer) < start + size:
                return
            opcode, content = buffer[0] & 0x0F, bytes(buffer[start : start + size])
            del buffer[: start + size]
            self._message(opcode, content)

    def _message(self, opcode: int, content: bytes) -> None:
        if opcode == _CLOSE:
            self.end(int.from_bytes(content[:2], "big") or 1005)
            self._transport.close()
        elif content.startswith(b'{"type":"ping"'):
            self._transport.write(_frame_of(_PONG))
        elif content.startswith(b'{"type":"connection_ack"'):
            self._send({"id": "1", "type": "subscribe", "payload": self._watched.body()})
        elif b'"type":"next"' in content[:100]:
            self.take(content)
        else:
            self.problem = content

    def _send(self, message: dict[str, Any]) -> None:
        self._transport.write(_frame_of(json.dumps(message).encode()))


class EventStream(Stream):
    """A response with server-sent events."""

    def request(self) -> bytes:
        """Return a POST."""
        body = json.dumps(self._watched.body()).encode()
        lines = [
            "POST /graphql HTTP/1.1",
            f"Host: {self._host}",
            "Accept: text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        if self._watched.authorization is not None:
            lines.append(f"Authorization: {self._watched.authorization}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def read(self, buffer: bytearray) -> None:
        """Take whole events. The frames of chunks are between them: the gateway writes each event as one chunk."""
        while (end := buffer.find(b"\n\n")) >= 0:
            event = bytes(buffer[:end])
            del buffer[: end + 2]
            _frame, name, result = event.rpartition(_EVENT)
            if name:
                self.take(result)
            elif b"event: complete" in event:
                self.problem = event
        if buffer.endswith(_LAST_CHUNK):  # the connection may stay open for another request
            self._transport.abort()


def _frame_of(content: bytes) -> bytes:
    size = len(content)
    head = bytes([0x80 | _TEXT, 0x80 | size]) if size < 126 else bytes([0x80 | _TEXT, 0xFE]) + size.to_bytes(2, "big")
    return head + bytes(4) + content  # a mask of zeros


async def watch(url: str, watched: Watch) -> SocketStream:
    """Open a socket that subscribes. Its first result comes later."""
    return await connected(url, SocketStream(url, watched))


async def connected(url: str, stream: S) -> S:
    """Connect a client, and return it."""
    host, _, port = urlsplit(url).netloc.partition(":")
    await asyncio.get_running_loop().create_connection(lambda: stream, host, int(port))
    return stream


def any_result(_content: bytes) -> bool:
    """Return that each result will do."""
    return True
