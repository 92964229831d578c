"""What the server uses of uvicorn's undocumented behaviour. On its own, so that an upgrade is checked in one place.

Documented are the settings of ``Config`` (``http`` may be a class), and that a server that was stopped by a signal
raises it again, for the handler from before, once it has shut down. Undocumented are the methods of the classes.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

import httptools
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.compat.uvicorn_cycle import Cycle

CANNOT_START = STARTUP_FAILURE
"""The exit status of a process whose application did not start, and would not start if it were tried again."""


class RejectedHead(Exception):
    """A request that is not passed to the application; ``response`` is sent, and the connection is closed."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


class _Flow(FlowControl):
    """Whether the connection is read: uvicorn stops it for its own reasons, and `hold` for another one."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._held = False
        self._paused = False

    def pause_reading(self) -> None:
        self._paused = True
        super().pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if not self._held:
            super().resume_reading()

    def hold(self, held: bool) -> None:
        self._held = held
        if held:
            super().pause_reading()
        elif not self._paused:
            super().resume_reading()


_OFFER = frozenset({b"upgrade", b"http2-settings"})


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, with hooks of a fixed meaning, without trailers, and without an error for a hang-up.

    uvicorn adds the trailers of a chunked request to the headers that the application has already read. If the client
    hangs up, it tells only the last request in its pipeline, not the one that is being answered. And it loses the body
    of a request that offers another protocol than WebSocket: Java's client offers HTTP/2 on each new connection.

    Subclasses also use ``loop``, ``transport`` and ``timeout_keep_alive``, and override ``shutdown``, which the server
    calls once on each connection when it stops; it then waits until all of them are closed.
    """

    flow: _Flow
    _rejected: RejectedHead | None = None
    _answered: RequestResponseCycle | None = None
    _head_is_read = False

    @property
    def head_size(self) -> int:
        """Bytes of the current request's target and headers."""
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    @property
    def waiting(self) -> int:
        """Requests that wait until the requests before them are answered."""
        return len(self.pipeline)

    @property
    def is_read(self) -> bool:
        """Whether more data of the client is accepted now."""
        return not self.flow.read_paused

    def head_complete(self) -> None:
        """Called when the head of a request has been read; may raise `RejectedHead`."""

    def body_received(self, size: int) -> None:
        """Called for each piece of a body, with its bytes; a piece is in one chunk."""

    def message_complete(self) -> None:
        """Called when a request has been read to its end."""

    def response_complete(self) -> None:
        """Called when a request has been answered."""

    def upgraded(self) -> None:
        """Called when the connection has become a WebSocket, and this object has nothing more to do."""

    def hold_reading(self, held: bool) -> None:
        """Read nothing of this connection as long as ``held`` is true."""
        self.flow.hold(held)

    def respond_and_close(self, response: bytes) -> None:
        """Close the connection; send the bytes before, if a response to the current request is what is due."""
        if self._is_due:
            self.transport.write(response)
        self.transport.close()
        self._disconnect()

    @property
    def _is_due(self) -> bool:
        answered = self._answered
        if self._head_is_read:
            return answered is self.cycle and not answered.response_started
        return not self.pipeline and (answered is None or answered.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Control the reading."""
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered."""
        super().connection_lost(exc)
        self._disconnect()

    def _disconnect(self) -> None:
        """Let the request that is being answered know that its client is gone, and answer no others."""
        self.pipeline.clear()
        for cycle in (self._answered, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse as uvicorn does, but go on where another protocol is offered."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            text = "Invalid HTTP request received."
            self.logger.warning(text)
            self.send_400_response(text)
        except httptools.HttpParserUpgrade as exc:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self._offers_a_protocol:
                self._ignore_offer(data[exc.args[0] :])

    @property
    def _offers_a_protocol(self) -> bool:
        """Whether the head that was read offers a protocol that is not spoken here. CONNECT is refused as a method."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    def _ignore_offer(self, rest: bytes) -> None:
        """Read the head again without the offer, and then the ``rest`` (RFC 9110, section 7.8: a server may ignore it).

        httptools takes everything behind such a head for the other protocol, a body too.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                options = [each.strip() for each in value.split(b",")]
                kept = b", ".join(each for each in options if each.lower() not in _OFFER)
            if name not in _OFFER:
                lines.append(b"%b: %b\r\n" % (name, kept))
        self.parser = httptools.HttpRequestParser(self)  # the old one may be at its end
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join((*lines, b"\r\n")))
        if rest and not self.transport.is_closing():
            self.data_received(rest)

    def on_message_begin(self) -> None:
        """Read a head."""
        self._head_is_read = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drop trailers, and note the rest as uvicorn does: a call of its method for each header takes longer."""
        if self._head_is_read:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Call the hook. httptools turns its exception into one for which uvicorn calls ``send_400_response``."""
        if self._offers_a_protocol:
            return  # it is read again
        try:
            self.head_complete()
        except RejectedHead as exc:
            self._rejected = exc
            raise
        super().on_headers_complete()
        self._head_is_read = True

    def on_body(self, body: bytes) -> None:
        """Call the hook."""
        self.body_received(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Call the hook."""
        if self._offers_a_protocol:
            return  # so says httptools; it is read again
        self.message_complete()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Call the hook."""
        super().on_response_complete()
        self.response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Call the hook. A request that is still being answered would never hear that its client is gone: refuse."""
        answered = self._answered
        if self.pipeline or (answered is not None and not answered.response_complete):
            self.transport.close()
            self._disconnect()
            return
        super().handle_websocket_upgrade()
        self.upgraded()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        cycle.__class__ = Cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that was rejected or cannot be parsed."""
        if self._rejected is not None:
            self.respond_and_close(self._rejected.response)
        else:
            super().send_400_response(msg)
            self._disconnect()


class ConnectionSource(Protocol):
    """Where a server's connections come from."""

    def start(self, take: Callable[[socket.socket], None]) -> None:
        """Call ``take`` with each accepted connection from now on, in the running event loop."""

    async def stop(self) -> None:
        """Return when ``take`` will not be called again: every connection that was accepted has been passed to it."""


class ConnectionServer(uvicorn.Server):
    """uvicorn's server for connections that are accepted elsewhere.

    uvicorn hands its listeners to the event loop. uvloop says nothing when no file descriptor is left for a connection,
    and asyncio logs the same line for every attempt.
    """

    def __init__(self, config: uvicorn.Config, source: ConnectionSource) -> None:
        super().__init__(config)
        self._source = source
        self._opening: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Start the application, and then the source."""
        await super().startup(sockets=[])
        try:
            self._source.start(self._take)
        except Exception:
            await self.lifespan.shutdown()  # uvicorn would cancel the application, which logs a traceback
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop the source, and then the server."""
        await self._source.stop()
        if self._opening:
            await asyncio.wait(self._opening)
        await super().shutdown(sockets=[])

    def _take(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        opening = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        built: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )
        return built

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled():
            opening.exception()  # the client is gone already
