"""One connection: one call at a time, and closed for good at the first thing that is not as it should be.

What is dangerous is a response that belongs to another request than the one it is read for: one response too many on a
kept connection, and from then on each caller gets the response of the one before. HTTP/1.1 has no number that ties a
response to its request; only the order does. So a connection is used again only if everything that came on it is
accounted for. Its states, and what each event does:

    state    meaning                      call      bytes            EOF, reset   timeout, cancelled
    -------  ---------------------------  --------  ---------------  -----------  ------------------
    IDLE     no call                      WAITING   CLOSED (stray)   CLOSED       -
    WAITING  the request goes out, or     -         READING, but     CLOSED (1)   CLOSED
             went out; no byte came yet             CLOSED if (2)
    READING  a part of it came            -         IDLE, WAITING's  CLOSED (4)   CLOSED
                                                    end; or (3)
    CLOSED   never used again             refused   ignored          -            -

(1) Where the connection was used before, the pool sends a GET again on a new one: the server had closed this one.
(2) The response starts before the server has the whole request, and an earlier call used the connection: it is stray,
    or the early refusal of a long upload, and counts as no response. On the first call of a connection it is
    delivered, and the connection is closed.
(3) The end of the response leads to CLOSED, not to IDLE, after ``Connection: close``, HTTP/1.0, a body that ends with
    the connection, a HEAD, a 408, and where bytes follow the response: line ends are dropped with the connection, and
    with anything else the call fails with StrayResponse, since the first of two responses may be the stray one.
(4) Unless the body is one that ends with the connection. On TLS such a body may have been cut off by somebody on the
    way: uvloop notices that the end was not announced, asyncio's own loop does not say.

A stray response that crosses a request on the way is noticed by (2): TCP acknowledges what it received with each
segment it sends, so a response that finds a part of its request unacknowledged was sent before that request arrived.
Linux says so (TIOCOUTQ); elsewhere only what is not yet written counts. A 408 on a connection that was used before is
not delivered either: servers send it to a connection that was idle for too long. In both cases the request counts as
not answered.

Bytes in the kernel. `data_received` runs when the event loop gets to it, so bytes may lie in the socket while the state
is still IDLE. `readable` asks the kernel (poll, no wait), and the pool asks it right before each reuse. On TLS it sees
records, not what is in them. Session tickets arrive before the first response (RFC 8446, section 4.6.1, and every
common server) and the TLS layer consumes them; a record that lies there later costs this connection and nothing else.

What cannot be told from a true response: a stray response that the server (or the balancer that ends the TCP
connection) sends after the request reached its kernel, alone in its segment, and with another status than 408. The
call gets that response. The true one then finds the connection idle and closes it; or, where the next call's request
reached the server by then, that call gets it, and so on until the connection is idle as a response comes, or is too
old. Only a server that sends a response more than it was asked for does this, and only what is in the body could show
it.
"""

import asyncio
import fcntl
import select
import sys
import termios
from array import array
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Literal, TypeAlias, cast

from gateway.http1.errors import CallFailed, ConnectionBroken, ReadTimedOut, StrayResponse
from gateway.http1.messages import Response, StreamedBody
from gateway.http1.parser import ResponseParser

Discarded: TypeAlias = Literal[
    "broken",
    "broken_request",
    "cancelled",
    "closed_by_peer",
    "early",
    "expired",
    "gave_up",
    "invalid",
    "last",
    "pool_closed",
    "readable",
    "replaced",
    "stray",
    "surplus",
    "suspect",
    "timed_out",
]
"""Why a connection is not used again."""

_MAX_SINGLE_WRITE_BYTES = (
    65_536  # a body up to this size is copied behind its head, which costs less than a second system call
)


class ConnectionState(Enum):
    """Where a connection stands between two calls; the table is above."""

    IDLE = auto()
    WAITING = auto()
    READING = auto()
    CLOSED = auto()


# A member of an enumeration is found by two look-ups, and these are compared several times in each call.
_IDLE, _WAITING, _READING, _CLOSED = (
    ConnectionState.IDLE,
    ConnectionState.WAITING,
    ConnectionState.READING,
    ConnectionState.CLOSED,
)


class Connection(asyncio.Protocol):
    """A connection to the origin, open from `connection_made` on.

    ``on_close`` is called once, with the connection and the reason, when it will not be used again.
    """

    def __init__(self, max_body: int, on_close: Callable[["Connection", Discarded], None]) -> None:
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._parser = ResponseParser(max_body)
        self._state = _CLOSED
        self._early = False
        self._unacknowledged = array("i", [0])
        self._answer: asyncio.Future[Response] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = 0.0
        self._latest = 0.0  # when the latest byte came or went
        self._unwritten = 0
        self._sender: asyncio.Task[None] | None = None  # of a streamed body
        self._room: asyncio.Future[None] | None = None  # done when the transport takes more
        self.calls = 0
        """How many requests were sent on it."""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""
        self.opened_at = 0.0
        self.expires_at = 0.0
        """Both are the pool's."""

    @property
    def reusable(self) -> bool:
        """Whether the connection can take another call, as far as the event loop has seen."""
        return self._state is _IDLE

    def readable(self) -> bool:
        """Return whether the kernel has anything for this connection: bytes, its end, or an error."""
        return bool(self._poll(0))

    def send(
        self, head: bytes, body: bytes | StreamedBody, timeout: float, *, is_head: bool
    ) -> "asyncio.Future[Response]":
        """Send a request; the future has the response, or a CallFailed. ``timeout`` is in seconds without a byte."""
        if self._state is not _IDLE:
            raise ConnectionBroken("The connection was closed.", request_sent=False, response_begun=False)
        self._state = _WAITING
        self.calls += 1
        self._early = False
        self._unwritten = 0
        self._parser.reset(is_head=is_head)
        self._answer = response = self._loop.create_future()
        transport = self._transport
        if not isinstance(body, bytes):
            transport.write(head)
            self._sender = self._loop.create_task(self._stream(body), name="request-body")
        elif len(body) <= _MAX_SINGLE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self._watch(timeout)
        return response

    def close(self, reason: Discarded) -> None:
        """Close the connection at once; a call that waits for its response fails."""
        broken = ConnectionBroken(
            "The connection ended before the response did.",
            request_sent=True,
            response_begun=self._state is _READING,
        )
        self._fail(broken, reason)

    async def _stream(self, body: StreamedBody) -> None:
        """Send a body piece by piece, as the transport takes it; a body that breaks off ends the connection."""
        left = body.length
        with suppress(Exception):  # whatever it is, the server has only a part of the request
            async for piece in body.pieces():
                if self._room is not None:
                    await self._room
                left -= len(piece)
                if left < 0:
                    break
                self._transport.write(piece)
                self._latest = self._loop.time()
        if left:
            text = "The body of the request broke off."
            self._fail(ConnectionBroken(text, request_sent=True, response_begun=False), "broken_request")

    def _end_stream(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; the connection is idle."""
        self._transport = cast("asyncio.Transport", transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        self._poll = poller.poll
        self._state = _IDLE

    def data_received(self, data: bytes) -> None:
        """Read a part of the response; bytes that no call waits for close the connection."""
        state = self._state
        if state is _WAITING:
            self._state = _READING
            if self._is_request_under_way():
                self._early = True
                if self.calls > 1:
                    text = "A response came before the server had the request."
                    self._fail(ConnectionBroken(text, request_sent=True, response_begun=False), "early")
                    return
        elif state is not _READING:
            if state is _IDLE:
                self.close("stray")
            return
        try:
            if self._parser.feed(data):
                self._finish()
            else:
                self._latest = self._loop.time()
        except CallFailed as exc:
            self._fail(exc, "surplus" if isinstance(exc, StrayResponse) else "invalid")

    def pause_writing(self) -> None:
        """Wait with the next piece of a streamed body."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Send the next piece."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def eof_received(self) -> None:
        """Take the end of the stream: for some bodies it is the end of the response."""
        try:
            if self._state is _READING and self._parser.feed_eof():
                self._finish()
                return
        except CallFailed as exc:
            self._fail(exc, "invalid")
        self.close("closed_by_peer")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self.close("closed_by_peer" if exc is None else "broken")
        if not self.lost.done():
            self.lost.set_result(None)

    def _is_request_under_way(self) -> bool:
        """Return whether a part of the request is not written, or not acknowledged by the server's kernel."""
        if self._transport.get_write_buffer_size() or (self._sender is not None and not self._sender.done()):
            return True
        if sys.platform == "linux":
            fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, self._unacknowledged, True)
            return self._unacknowledged[0] > 0
        return False

    # the end of a call

    def _finish(self) -> None:
        """Deliver the response, and keep the connection if everything that came on it is accounted for."""
        parser = self._parser
        if parser.surplus:
            raise StrayResponse
        response = parser.response()
        if response.status == 408 and self.calls > 1:
            text = "The server gave the idle connection up."
            self._fail(ConnectionBroken(text, request_sent=True, response_begun=False), "gave_up")
            return
        self._end_stream()
        waiting, self._answer = self._answer, None
        if parser.keep_alive and not self._early and response.status != 408:
            self._state = _IDLE
        else:
            self.close("last")
        if waiting is not None and not waiting.done():
            waiting.set_result(response)

    def _fail(self, exc: CallFailed, reason: Discarded) -> None:
        if self._state is _CLOSED:
            return
        self._state = _CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end_stream()
        # Not close(): on TLS that waits for the peer, and what is still unsent shall not be sent.
        self._transport.abort()
        self._on_close(self, reason)
        waiting, self._answer = self._answer, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(exc)

    # the read timeout: a timer that outlives calls, since setting one for each call costs more than the call's parsing

    def _watch(self, timeout: float) -> None:
        self._timeout = timeout
        self._latest = self._loop.time()
        due = self._latest + timeout
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._check)

    def _check(self) -> None:
        """Fail the call if nothing came, and nothing went, for as long as its timeout."""
        self._timer = None
        if self._state is not _WAITING and self._state is not _READING:
            return
        unwritten = self._transport.get_write_buffer_size()
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._latest = self._loop.time()
        due = self._latest + self._timeout
        if self._loop.time() >= due:
            self._fail(ReadTimedOut("The response stopped coming."), "timed_out")
        else:
            self._timer = self._loop.call_at(due, self._check)
