"""A client's connection: uvicorn's, with bounds on the size of a request's head and on the time to receive it.

The bounds apply before authentication. Neither uvicorn nor httptools has any: an endless header would fill the memory.
"""

import asyncio
from typing import Any

from gateway.compat.uvicorn import HttpConnection, RejectedHead

MAX_HEAD_BYTES = 64 * 1024
"""The most bytes of the request line and all headers together; nginx passes on 32 KB at most by default."""

CLOSE_DELAY_SECONDS = 0.25
"""How long an idle connection stays open after the server began to stop."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(HttpConnection):
    """Responds 431 (RFC 6585, section 5) to a request whose head is too large.

    It closes a connection on which no complete head arrives within the keep-alive timeout.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reading_head = True
        self._received = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and check the bounds unless it completes the head."""
        if self._reading_head:
            self._received += len(data)
        super().data_received(data)
        if self._reading_head and self._received and not self.transport.is_closing():
            if self._received > MAX_HEAD_BYTES:
                self.respond_and_close(_TOO_LARGE)
            elif self._head_timer is None:
                self._start_timer()

    def head_complete(self) -> None:
        """Check the size of the head. The received bytes are only a first check, as they may include a body."""
        self._reading_head = False
        self._stop_timer()
        received, self._received = self._received, 0
        if received > MAX_HEAD_BYTES and self.head_size > MAX_HEAD_BYTES:
            raise RejectedHead(_TOO_LARGE)

    def message_complete(self) -> None:
        """Expect the next head."""
        self._reading_head = True

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class LingeringConnection(BoundedConnection):
    """A connection that stays open for a moment when the server stops.

    A request may already be on its way on an idle connection or on a new one. It gets a response, which closes the
    connection. Without a request the connection is closed after the delay.
    """

    def shutdown(self) -> None:
        """Close the connection after the delay; the server waits for it."""
        self.loop.call_later(CLOSE_DELAY_SECONDS, super().shutdown)
