"""A client that takes nothing of what is sent to it is disconnected, and delays nobody."""

import asyncio
import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.compat.uvicorn_websocket import STUCK
from gateway.sandbox import BackgroundServer
from gateway.server.connection import BoundedConnection, SocketConnection, WriteDeadline

LARGE = b"x" * 8_000_000
"""More than the kernels of both sides buffer on loopback with the small buffer of the client."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"


class Impatient(BoundedConnection):
    write_seconds = 0.3


class ImpatientSocket(SocketConnection):
    write_seconds = 0.3


class Application:
    """Sends a large response, or large messages until the connection is lost, and records how it ends."""

    def __init__(self) -> None:
        self.ended: list[Any] = []
        self.over = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._respond if scope["type"] == "http" else self._send_messages
        await serve(receive, send)
        self.over.set()

    async def _respond(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": LARGE, "more_body": True})
        self.ended.append((await receive())["type"])

    async def _send_messages(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.ensure_future(self._send_until_lost(send))
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        self.ended.append(message)
        await sending

    async def _send_until_lost(self, send: Send) -> None:
        try:
            while True:
                await send({"type": "websocket.send", "bytes": LARGE})
        except OSError:
            self.ended.append("lost")


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def server(application: Application) -> Iterator[BackgroundServer]:
    options: Any = {"lifespan": "off", "log_config": None, "ws_ping_interval": None, "ws_per_message_deflate": False}
    config = uvicorn.Config(application, http=Impatient, ws=ImpatientSocket, **options)
    with BackgroundServer(config) as running:
        yield running


@contextmanager
def connected(server: BackgroundServer) -> Iterator[socket.socket]:
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", server.port))
        yield client


def drained(client: socket.socket) -> int:
    """Read until the end, a little at a time, and return how many bytes there were."""
    received = 0
    try:
        while chunk := client.recv(65_536):
            received += len(chunk)
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("request_bytes", [GET, UPGRADE], ids=["http", "websocket"])
def test_a_client_that_takes_nothing_is_disconnected(
    server: BackgroundServer, application: Application, request_bytes: bytes
) -> None:
    with connected(server) as client:
        client.sendall(request_bytes)
        assert application.over.wait(20)
        assert drained(client) < len(LARGE)
    if request_bytes is UPGRADE:
        assert {"type": "websocket.disconnect", "code": 1006, "reason": STUCK} in application.ended
        assert "lost" in application.ended
    else:
        assert application.ended == ["http.disconnect"]


class Timers:
    """The transport and the event loop of a `WriteDeadline`: what waits, and the timer that is set."""

    def __init__(self) -> None:
        self.waiting = 100
        self.is_aborted = False
        self.elapse: Callable[[], None] | None = None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_aborted = True

    def call_later(self, _seconds: float, call: Callable[[], None]) -> "Timers":
        self.elapse = call
        return self

    def cancel(self) -> None:
        self.elapse = None


def test_a_client_that_takes_something_has_more_time() -> None:
    timers = Timers()
    deadline = WriteDeadline(cast("Any", timers), cast("Any", timers), 10)
    deadline.start()
    for left, aborted in ((90, False), (89, False), (89, True)):
        timers.waiting = left
        assert timers.elapse is not None
        timers.elapse()
        assert timers.is_aborted is aborted


class Streaming:
    """An application that never ends its response to HTTP, and counts the connections that are lost."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.lost = threading.Event()
        self.sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            self.sockets += 1
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.lost.set()


@pytest.mark.parametrize("padding", [b"", b"x: " + b"x" * 6000 + b"\r\n"], ids=["small", "in several pieces"])
def test_a_pipelined_upgrade_does_not_hide_the_end_of_a_response(padding: bytes) -> None:
    """The WebSocket would get all events of the connection, and the response would go on for ever."""
    application = Streaming()
    config = uvicorn.Config(application, http=BoundedConnection, ws=SocketConnection, lifespan="off", log_config=None)
    with BackgroundServer(config) as server, connected(server) as client:
        client.sendall(GET)
        assert application.begun.wait(20)
        client.sendall(UPGRADE[:-2] + padding + b"\r\n")
        assert application.lost.wait(20)
        drained(client)
    assert application.sockets == 0


def test_what_follows_an_upgrade_at_once_is_refused() -> None:
    """A client may send nothing before it has the response (RFC 6455, section 4.1); it would be parsed as HTTP."""
    application = Streaming()
    config = uvicorn.Config(application, http=BoundedConnection, ws=SocketConnection, lifespan="off", log_config=None)
    with BackgroundServer(config) as server, connected(server) as client:
        client.sendall(UPGRADE + (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n" * 2000))
        drained(client)
    assert application.sockets <= 1
    assert not application.begun.is_set()
