"""A client's connection: uvicorn's, with bounds on what a client may send, and on the time that it may take.

The bounds apply before authentication. Neither uvicorn nor httptools has any: endless headers, trailers, chunk
extensions or pipelined requests would fill the memory, and an endless body would hold its connection.

What arrives is parsed in pieces, a few in each turn of the event loop. Parsing stops while enough requests wait for the
responses to the ones before them, and the connection is not read until the rest is parsed. It is the same for what
arrives on a WebSocket, where parsing stops while the application has messages to take.
"""

import asyncio
import socket
import time
from typing import Any, ClassVar

from gateway.compat.uvicorn import HttpConnection, RejectedHead
from gateway.compat.uvicorn_websocket import WebSocketConnection

MAX_HEAD_BYTES = 64 * 1024
"""The most bytes of the request line and all headers together; nginx passes on 32 KB at most by default."""

MAX_FRAMING_BYTES = 8 * 1024
"""The most bytes of trailers and chunk extensions of a request, which nothing here reads."""

MAX_WAITING_REQUESTS = 10
"""With more requests waiting on a connection than this, it is not read."""

PIECE_BYTES = 4 * 1024
"""How much is parsed before the bounds are checked: 227 of the smallest requests."""

WRITE_SECONDS = 10.0
"""A client that takes nothing of what is sent to it for so long is disconnected."""

UNACKNOWLEDGED_SECONDS = 30
"""So is one whose machine does not acknowledge what is sent to it, such as one without a network."""

CLOSE_DELAY_SECONDS = 0.25
"""How long an idle connection stays open after the server began to stop."""

_PIECES_PER_TURN = 8
"""64 KB in chunks of one byte take 10 ms, and asyncio reads 256 KB at once."""

_FRAMES_BYTES = 1024
"""How much of a WebSocket is parsed before the time is looked at: 170 of the smallest frames, which take 3 ms."""

_FRAMES_SECONDS = 0.002
"""How long frames are parsed in one turn of the event loop, about. 1 MB of the smallest ones takes 3 s."""

_CHUNK_FRAMING_BYTES = 24
"""Allowed for each chunk: its size, at most 16 digits, and two line breaks."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WriteDeadline:
    """Aborts a connection whose client takes nothing. uvicorn's ``send`` would wait for ever, and so would a close."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.is_over = False
        """Whether the connection was aborted."""
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0

    def start(self) -> None:
        """Expect the client to take something."""
        self._left = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Expect nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        if self._transport.get_write_buffer_size() < self._left:
            self.start()
        else:
            self.is_over = True
            self._transport.abort()


def _require_acknowledgement(transport: asyncio.Transport) -> None:
    """Let the kernel drop a connection whose peer is gone (RFC 5482); by default it tries for a quarter of an hour."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)


class BoundedConnection(HttpConnection):
    """Responds 431 (RFC 6585, section 5) to a request whose head, trailers or chunk extensions are too large.

    It responds 408 to a request whose body does not end in time. It closes a connection on which no complete head
    arrives within the keep-alive timeout. It aborts one on which a response is stuck.
    """

    write_seconds: ClassVar[float] = WRITE_SECONDS

    body_seconds: ClassVar[float] = 60
    """The time for a body to arrive, unless its connection is not read: a megabyte at 17 KB/s."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unparsed = bytearray()
        self._reading_head = True
        self._received = 0
        self._framing = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the timer for the first request."""
        super().connection_made(transport)
        _require_acknowledgement(transport)
        self._writing = WriteDeadline(transport, self.loop, self.write_seconds)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and drop what is not parsed."""
        self._stop_timer()
        self._writing.stop()
        self._unparsed.clear()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Expect the client to take something of what waits."""
        super().pause_writing()
        self._writing.start()

    def resume_writing(self) -> None:
        """Stop expecting: most of it is taken."""
        super().resume_writing()
        self._writing.stop()

    def upgraded(self) -> None:
        """Leave the connection to the WebSocket: a client may send nothing more before it has the response."""
        self._stop_timer()
        self._writing.stop()
        self.hold_reading(held=False)
        self._is_upgraded = True
        if self._unparsed:
            self._unparsed.clear()
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse the data, now or later."""
        if len(data) <= PIECE_BYTES and not self._unparsed and self.waiting <= MAX_WAITING_REQUESTS:
            self._parse_piece(data)
        else:
            self._unparsed += data
            self._parse()

    def response_complete(self) -> None:
        """Parse what waited for the response."""
        if self._unparsed:
            self._parse()

    def _parse(self) -> None:
        """Parse as much as one turn of the event loop allows, and read more once all is parsed."""
        for _ in range(_PIECES_PER_TURN):
            if not self._unparsed or self.waiting > MAX_WAITING_REQUESTS or self.transport.is_closing():
                break
            piece = bytes(self._unparsed[:PIECE_BYTES])
            del self._unparsed[:PIECE_BYTES]
            self._parse_piece(piece)
        else:
            self.loop.call_soon(self._parse)
        if not self._is_upgraded and not self.transport.is_closing():
            self.hold_reading(bool(self._unparsed))

    def _parse_piece(self, piece: bytes) -> None:
        """Parse, and check the bounds unless the piece completes the head or the request."""
        if self._reading_head:
            self._received += len(piece)
        else:
            self._framing += len(piece)
        super().data_received(piece)
        if self._is_upgraded or self.transport.is_closing():
            return
        self._framing = max(0, self._framing)
        if self._received > MAX_HEAD_BYTES or self._framing > MAX_FRAMING_BYTES:
            self.respond_and_close(_TOO_LARGE)
        elif self._timer is None and (self._received or not self._reading_head):
            self._start_timer()

    def head_complete(self) -> None:
        """Check the size of the head. The received bytes are only a first check, as they may include a body."""
        self._reading_head = False
        self._stop_timer()
        received, self._received = self._received, 0
        if received > MAX_HEAD_BYTES and self.head_size > MAX_HEAD_BYTES:
            raise RejectedHead(_TOO_LARGE)

    def body_received(self, size: int) -> None:
        """Count what is not the body: a piece of a body is from one chunk at most."""
        self._framing -= size + _CHUNK_FRAMING_BYTES

    def message_complete(self) -> None:
        """Expect the next head."""
        self._reading_head = True
        self._framing = 0
        self._stop_timer()

    def _start_timer(self) -> None:
        if self._reading_head:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
        else:
            self._timer = self.loop.call_later(self.body_seconds, self._body_is_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _body_is_late(self) -> None:
        if self.is_read:
            self.respond_and_close(_TOO_SLOW)
        else:
            self._start_timer()


class LingeringConnection(BoundedConnection):
    """A connection that stays open for a moment when the server stops.

    A request may already be on its way on an idle connection or on a new one. It gets a response, which closes the
    connection. Without a request the connection is closed after the delay.
    """

    def shutdown(self) -> None:
        """Close the connection after the delay; the server waits for it."""
        self.loop.call_later(CLOSE_DELAY_SECONDS, super().shutdown)


class SocketConnection(WebSocketConnection):
    """A WebSocket that is closed when its client takes nothing, however little waits.

    It keeps nothing back: each message is one write, and a client that is slow makes ``send`` wait from its first byte.
    """

    write_seconds: ClassVar[float] = WRITE_SECONDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unparsed = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait with each message until the one before is taken."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        self._writing = WriteDeadline(transport, self.loop, self.write_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._writing.stop()
        self._unparsed.clear()
        self.is_stuck = self._writing.is_over
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Expect the client to take something of what waits."""
        super().pause_writing()
        self._writing.start()

    def resume_writing(self) -> None:
        """Stop expecting: all of it is taken."""
        super().resume_writing()
        self._writing.stop()

    def data_received(self, data: bytes) -> None:
        """Parse the data, now or later."""
        if self._unparsed:
            self._unparsed += data
        elif len(data) <= _FRAMES_BYTES:
            super().data_received(data)
        else:
            self._unparsed += data
            self._parse()

    def read_on(self) -> None:
        """Parse the rest before more is read."""
        if self._unparsed:
            self.transport.pause_reading()
            self.loop.call_soon(self._parse)
        else:
            super().read_on()

    def _parse(self) -> None:
        """Parse for a moment, as long as the application has no messages to take."""
        began = time.perf_counter()
        while self._unparsed and not self.has_messages and time.perf_counter() - began < _FRAMES_SECONDS:
            piece = bytes(self._unparsed[:_FRAMES_BYTES])
            del self._unparsed[:_FRAMES_BYTES]
            super().data_received(piece)
            if self.transport.is_closing():
                self._unparsed.clear()
        if not self.has_messages:
            self.read_on()
