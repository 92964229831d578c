"""Canaries of gateway/compat/uvicorn.py and gateway/sandbox/http/compat.py.

After an upgrade, each names the borrowed behaviour that is gone.
"""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gateway.compat.uvicorn import CANNOT_START, ConnectionServer, HttpConnection, RejectedHead
from gateway.compat.uvicorn_websocket import WebSocketConnection
from gateway.sandbox import BackgroundServer, sandbox_config
from gateway.sandbox.http.compat import StoppableServer
from gateway.sandbox.http.exchange import TRANSPORT
from gateway.server.connection import LingeringConnection
from tests.harness import NO_CERTIFICATES


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    """Respond with the names of the ASGI extensions."""
    body = " ".join(scope.get("extensions", {})).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def config(connection: type[HttpConnection]) -> uvicorn.Config:
    options: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False, "timeout_keep_alive": 7}
    return uvicorn.Config(app, http=connection, ws="none", **options)


@contextmanager
def client_of(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES) as client:
        yield client


def test_a_connection_calls_its_hooks() -> None:
    events: list[tuple[Any, ...]] = []  # the response may come before the end of the request

    class Recorded(HttpConnection):
        def head_complete(self) -> None:
            events.append(("head", self.url, self.head_size))

        def body_received(self, size: int) -> None:
            events.append(("body", size))

        def message_complete(self) -> None:
            events.append(("message",))

        def response_complete(self) -> None:
            events.append(("response", self.waiting, self.is_read))

        def shutdown(self) -> None:
            events.append(("shutdown", self.timeout_keep_alive))
            super().shutdown()

    with BackgroundServer(config(Recorded)) as server, client_of(server.url) as client:
        assert client.post("/path", content=b"body").status_code == 200
        server.stop()
    body, head, message, response, shutdown = sorted(events, key=lambda event: str(event[0]))
    assert head[:2] == ("head", b"/path"), "`on_headers_complete` is not called, or `url` is not the target"
    assert head[2] > 100, "`headers` is not the list of parsed headers"
    assert body == ("body", 4), "`on_body` is not called"
    assert message == ("message",), "`on_message_complete` is not called"
    assert response == ("response", 0, True), "`on_response_complete` is not called, or `flow` or `pipeline` differ"
    assert shutdown == ("shutdown", 7), "`shutdown` is not called, or `timeout_keep_alive` is not the setting"


def test_a_rejected_head_is_not_passed_to_the_application() -> None:
    class Rejecting(HttpConnection):
        def head_complete(self) -> None:
            raise RejectedHead(b"HTTP/1.1 431 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with BackgroundServer(config(Rejecting)) as server, client_of(server.url) as client:
        status = client.get("/").status_code
    assert status == 431, "an exception in `on_headers_complete` does not lead to `send_400_response`"


def test_a_connection_that_is_held_is_not_read() -> None:
    class Held(HttpConnection):
        def head_complete(self) -> None:
            self.hold_reading(True)
            self.flow.resume_reading()
            seen.append(self.is_read)
            self.hold_reading(False)
            seen.append(self.is_read)

    seen: list[bool] = []
    with BackgroundServer(config(Held)) as server, client_of(server.url) as client:
        assert client.get("/").status_code == 200
    assert seen == [False, True], "uvicorn's FlowControl reads a connection by other means than `resume_reading`"


def test_trailers_are_no_headers() -> None:
    seen: list[int] = []

    class Counting(HttpConnection):
        def message_complete(self) -> None:
            seen.append(len(self.headers))

    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\na: b\r\n\r\n"
    with BackgroundServer(config(Counting)) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            connection.sendall(request)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert seen == [2], "`on_header` is not called for trailers, or after `on_headers_complete` for headers"


class OneConnection:
    """Gives a server one connection, stops it when that has ended, and passes another one on while it stops."""

    def __init__(self) -> None:
        self.clients: list[socket.socket] = []
        self.server: ConnectionServer | None = None
        self._take: Callable[[socket.socket], None] = socket.socket.close

    def start(self, take: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._connect()
        assert self.server is not None
        self.server.should_exit = True

    def _connect(self) -> None:
        ours, theirs = socket.socketpair()
        self.clients.append(ours)
        ours.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        self._take(theirs)

    async def stop(self) -> None:
        self._connect()


def test_a_server_serves_connections_from_elsewhere() -> None:
    source = OneConnection()
    source.server = ConnectionServer(config(LingeringConnection), source)
    source.server.run()
    for client in source.clients:
        with client:
            client.settimeout(10)
            answer = b"".join(iter(lambda each=client: each.recv(1000), b""))  # type: ignore[misc]  # the loop's own
            assert answer.startswith(b"HTTP/1.1 200"), "`startup`, `shutdown` or `server_state` differ"


def test_an_application_that_does_not_start_ends_the_process_with_the_status() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("it does not start")

    with pytest.raises(SystemExit) as caught:
        ConnectionServer(uvicorn.Config(broken, lifespan="on", log_config=None), OneConnection()).run()
    assert caught.value.code == CANNOT_START


def test_a_server_raises_its_signal_again_after_the_shutdown() -> None:
    seen: list[int] = []

    async def stopped(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        signal.raise_signal(signal.SIGTERM)
        assert not seen, "uvicorn does not handle the signal itself"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def handler(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            uvicorn.Server(uvicorn.Config(stopped, lifespan="on", log_config=None)).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM], "uvicorn does not raise the signal again for the handler from before"


def test_the_sandbox_gets_the_transport_of_a_connection() -> None:
    with BackgroundServer(sandbox_config(app)) as server, client_of(server.url) as client:
        assert client.get("/").text == TRANSPORT, "`on_message_begin` is not called, or `scope` is not the request's"


def test_the_sandboxs_server_runs_its_own_steps() -> None:
    steps: list[str] = []

    class Recorded(StoppableServer):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            steps.append("startup")
            await super().startup(sockets)

        async def main_loop(self) -> None:
            steps.append("main_loop")
            await super().main_loop()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            steps.append("shutdown")
            await super().shutdown(sockets)

    server = Recorded(sandbox_config(app))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        ready = server.ready.wait(10)
        server.stop(force=False)
        thread.join(10)
    assert ready, "`startup` is not called"
    assert not thread.is_alive(), "`main_loop` does not end"
    assert steps == ["startup", "main_loop", "shutdown"], "uvicorn's Server does not run in these steps"


def test_a_websocket_keeps_no_handshake_and_has_a_small_inbox() -> None:
    """What an open connection does not need is given back; messages still arrive in their order."""
    seen: list[Any] = []

    class Watched(WebSocketConnection):
        async def send(self, message: Any) -> None:
            assert hasattr(self, "request") is hasattr(self, "response") is (message["type"] == "websocket.accept"), (
                "uvicorn keeps the handshake in other attributes"
            )
            await super().send(message)

        async def receive(self) -> Any:
            message = await super().receive()
            seen.append((message["type"], self.queue.empty(), self.is_stuck))
            return message

    async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    options: Any = {"lifespan": "off", "log_config": None, "ws_ping_interval": None, "ws_per_message_deflate": False}
    with BackgroundServer(uvicorn.Config(echo, http=HttpConnection, ws=Watched, **options)) as server:
        url = server.url.replace("http", "ws")
        with connect(url, proxy=None, compression=None) as client:
            for text in ("one", "two"):
                client.send(text)
            assert [client.recv(20), client.recv(20)] == ["one", "two"]
    assert [kind for kind, _, _ in seen] == ["websocket.connect", *["websocket.receive"] * 2, "websocket.disconnect"]


def test_a_send_after_the_client_sent_what_is_no_websocket_is_a_lost_connection() -> None:
    """Uvicorn raises a RuntimeError, as for a bug of the application."""
    raised: list[type[BaseException]] = []
    may_send = threading.Event()

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as exc:
            raised.append(type(exc))
        may_send.set()

    options: Any = {"lifespan": "off", "log_config": None, "ws_ping_interval": None}
    config = uvicorn.Config(application, http=HttpConnection, ws=WebSocketConnection, **options)
    with BackgroundServer(config) as server, connect(server.url.replace("http", "ws"), proxy=None) as client:
        client.socket.sendall(b"\xff\xff\xff\xff")
        assert may_send.wait(20)
    assert raised != []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),
        (b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0x", 1007),
        (b"\x81\x02{}", 1002),
        (b"\x85\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
    ],
    ids=["no UTF-8", "no UTF-8 in two frames", "not masked", "unknown opcode", "a continuation of nothing", "a reason"],
)
def test_a_message_that_breaks_the_protocol_closes_the_connection_and_leaves_no_line_in_the_log(
    frame: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 6455, section 7.4.1."""

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    options: Any = {"lifespan": "off", "log_config": None, "ws_ping_interval": None}
    config = uvicorn.Config(application, http=HttpConnection, ws=WebSocketConnection, **options)
    with BackgroundServer(config) as server, connect(server.url.replace("http", "ws"), proxy=None) as client:
        client.socket.sendall(frame)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
