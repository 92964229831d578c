"""Frames of a WebSocket: however many come at once and however they are cut, each message arrives, and nobody waits."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, ClassVar

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.sandbox import BackgroundServer
from gateway.server.connection import BoundedConnection, SocketConnection
from tests.web.test_stalled_clients import LARGE, UPGRADE

CONTINUATION, TEXT, CLOSE, PING = 0x0, 0x1, 0x8, 0x9
SWITCHED = b"HTTP/1.1 101 "
CLOSED = b"\x88\x02\x03\xf4"
FIN = 0x80
MOST_WAITING = 1024 // 7 + 1
"""The most messages of one byte in a piece that is parsed at once."""


def frame(kind: int, data: bytes = b"", fin: int = FIN) -> bytes:
    """Return a client's frame; its mask is 0 (RFC 6455, section 5.2)."""
    if len(data) < 126:
        head = struct.pack("!BB", fin | kind, 0x80 | len(data))
    else:
        head = struct.pack("!BBH", fin | kind, 0x80 | 126, len(data))
    return head + bytes(4) + data


class Server(SocketConnection):
    """Records how much waits, and what a client sends after the server has closed."""

    waits = 0
    waiting = 0
    fragments = 0
    replies = 0
    is_full: ClassVar[threading.Event]

    def pause_writing(self) -> None:
        super().pause_writing()
        Server.is_full.set()

    def handle_cont(self, event: Any) -> None:
        super().handle_cont(event)
        Server.fragments = max(Server.fragments, len(self.frames))

    def send_receive_event_to_app(self) -> None:
        super().send_receive_event_to_app()
        self.waits += 1
        Server.waiting = max(Server.waiting, self.waits)

    async def receive(self) -> Any:
        message = await super().receive()
        self.waits -= message["type"] == "websocket.receive"
        return message

    def handle_close(self, event: Any) -> None:
        Server.replies += self.close_sent
        super().handle_close(event)


class Application:
    """Takes messages when it may, and records them until ``last`` comes. Then it closes."""

    def __init__(self, last: str, sends: Sequence[bytes] = ()) -> None:
        self.last = last
        self.sends = sends
        self.taken: list[str] = []
        self.may_take = asyncio.Event()
        self.over = threading.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.ensure_future(self._send(send))
        while (message := await receive())["type"] == "websocket.receive":
            self.taken.append(message["text"])
            if message["text"] == self.last:
                self.over.set()
                break
        await sending
        await send({"type": "websocket.close", "code": 1012})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def _send(self, send: Send) -> None:
        for data in self.sends:
            await send({"type": "websocket.send", "bytes": data})


@contextmanager
def opened(application: Any) -> Iterator[socket.socket]:
    """Open a connection to a server of its own."""
    Server.waiting = Server.fragments = Server.replies = 0
    Server.is_full = threading.Event()
    options: Any = {"lifespan": "off", "log_config": None, "ws_ping_interval": None, "ws_max_size": 65_536}
    config = uvicorn.Config(application, http=BoundedConnection, ws=Server, **options)
    with BackgroundServer(config) as server:
        address = server.url.removeprefix("http://").partition(":")
        with closing(socket.socket()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)  # so that `LARGE` does not fit
            client.settimeout(20)
            client.connect((address[0], int(address[2])))
            yield client


@contextmanager
def connected(application: Any, upgrade: bytes = UPGRADE) -> Iterator[socket.socket]:
    """Open a WebSocket at a server of its own."""
    with opened(application) as client:
        client.sendall(upgrade)
        assert client.recv(len(SWITCHED)) == SWITCHED
        yield client


def everything(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = bytearray()
    while piece := client.recv(1024 * 1024):
        received += piece
    return bytes(received)


def test_all_messages_arrive_in_their_order_and_few_wait_at_a_time() -> None:
    texts = [str(number) for number in range(10)] * 300 + [f"{size} " * size for size in (1, 100, 1000, 9000)]
    application = Application("the end")
    frames = b"".join(frame(TEXT, text.encode()) for text in (*texts, "the end"))
    with connected(application) as client:
        client.sendall(frames)
        assert application.over.wait(20)
    assert application.taken == [*texts, "the end"]
    assert 1 < Server.waiting <= MOST_WAITING


def test_a_message_arrives_whole_in_however_many_fragments() -> None:
    """Empty ones are not kept: they count for no limit, so that there may be any number of them."""
    application = Application("abc" * 100)
    parts = [frame(TEXT, b"abc", 0), *[frame(CONTINUATION, b"", 0)] * 5000]
    parts += [frame(CONTINUATION, b"abc", 0), frame(CONTINUATION, b"", 0)] * 99
    with connected(application) as client:
        client.sendall(b"".join((*parts, frame(CONTINUATION))))
        assert application.over.wait(20)
    assert Server.fragments <= 100


def test_what_is_sent_after_the_server_has_closed_is_read_to_the_reply() -> None:
    with connected(Application("1")) as client:
        client.sendall(frame(TEXT, b"1") + frame(TEXT, b"2") * 3000 + frame(CLOSE, struct.pack("!H", 1012)))
        everything(client)
    assert Server.replies == 1


def test_only_the_last_pings_are_answered_to_a_client_that_takes_nothing() -> None:
    application = Application("all sent", [LARGE])
    pings = b"".join(frame(PING, b"%d" % number) for number in range(1000))
    with connected(application) as client:
        assert Server.is_full.wait(20)
        client.sendall(pings + frame(TEXT, b"all sent"))
        assert application.over.wait(20)
        received = b""
        while not received.endswith(CLOSED):
            received += client.recv(1024 * 1024)
        client.sendall(frame(CLOSE, struct.pack("!H", 1012)))
    assert received.count(b"\x8a\x03999") == 1
    assert b"\x8a\x010" not in received


@pytest.mark.parametrize("size", [100, 60_000])
def test_a_handshake_may_be_as_large_as_any_request(size: int) -> None:
    application = Application("hello")
    headers = b"".join(b"x: " + b"x" * min(size, 6000) + b"\r\n" for _ in range(0, size, 6000))
    with connected(application, UPGRADE[:-2] + headers + b"\r\n") as client:
        client.sendall(frame(TEXT, b"hello"))
        assert application.over.wait(20)


@pytest.mark.parametrize(
    ("upgrade", "status"),
    [
        (UPGRADE[:-2] + b"x: " + b"x" * 10_000 + b"\r\n\r\n", b"431"),
        (UPGRADE[:-2] + b"x: x\r\n" * 200 + b"\r\n", b"431"),
        (UPGRADE[:-2] + b"transfer-encoding: chunked\r\n\r\n", b"400"),
    ],
    ids=["a long header", "many headers", "a body"],
)
def test_a_handshake_that_cannot_be_read_is_refused(upgrade: bytes, status: bytes) -> None:
    """It would hold its connection for ever."""
    with opened(Application("")) as client:
        client.sendall(upgrade)
        assert everything(client).startswith(b"HTTP/1.1 " + status)
