"""A client's connection: uvicorn's, with a bound on what comes before the body, and on the wait for it.

Nobody has been let in by then, and neither uvicorn nor httptools has a bound of its own: a header that never ends would
be kept in memory as long as it goes on.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 64 * 1024
"""Bytes of the request line and all headers together; nginx, for one, passes on 32 KB at most."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _HeadTooLarge(Exception):
    """Tells the parser to stop."""


class BoundedConnection(HttpToolsProtocol):
    """Answers 431 (RFC 6585, section 5) where a request's head is too large.

    One that does not come within the time that an idle connection is kept closes the connection.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reading_head = True
        self._head = 0
        self._is_too_large = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is complete costs nothing here."""
        if self._reading_head:
            self._head += len(data)
        super().data_received(data)
        if self._reading_head and self._head and not self.transport.is_closing():
            if self._head > MOST_HEAD:
                self._refuse()
            elif self._patience is None:
                self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Go on, unless there were too many; what was counted may have part of the body in it."""
        self._reading_head = False
        self._stop_waiting()
        counted, self._head = self._head, 0
        if counted > MOST_HEAD and self._size() > MOST_HEAD:
            self._is_too_large = True
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._reading_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request that could not be read."""
        if self._is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
