"""What a client sends is limited in size and in time, before the caller is authenticated."""

import asyncio
import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox
from gateway.server.config import gateway_config
from gateway.server.connection import (
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    MAX_WAITING_REQUESTS,
    PIECE_BYTES,
    BoundedConnection,
)
from tests.harness import SERVICE, Gateway, StartGateway, settings

GET = b"GET /health HTTP/1.1\r\nHost: gateway\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname or "", address.port or 0), 10)) as connection:
        yield connection


def sent(connection: socket.socket, *texts: bytes) -> bytes:
    """Send as much as possible, and return everything received until the server closes the connection."""
    received = b""
    try:
        for text in texts:
            connection.sendall(text)
        while chunk := connection.recv(65_536):
            received += chunk
    except (BrokenPipeError, ConnectionResetError):
        pass
    return received


def status(answer: bytes) -> bytes:
    return answer[9:12]


def header(size: int) -> bytes:
    return b"X: " + b"x" * (size - 5) + b"\r\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param([header(1000)] * 60, b"200", id="many headers below the bound"),
        pytest.param([header(1000)] * 70, b"431", id="many headers above it"),
        pytest.param([header(MAX_HEAD_BYTES - 1000)], b"200", id="one header below it"),
        pytest.param([header(MAX_HEAD_BYTES)], b"431", id="one header above it"),
        pytest.param([b"a: b\r\n"] * 200_000, b"431", id="very many small headers"),
    ],
)
def test_the_head_of_a_request_is_limited(gateway: Gateway, fields: list[bytes], expected: bytes) -> None:
    with connected(gateway.url) as connection:
        head = GET + b"Connection: close\r\n" + b"".join(fields) + b"\r\n"
        pieces = [head[start : start + 50_000] for start in range(0, len(head), 50_000)]
        answer = sent(connection, *pieces)
    is_reset = expected == b"431" and not answer  # while it was still sending
    assert status(answer) == expected or is_reset


def test_an_endless_header_is_refused(gateway: Gateway) -> None:
    """All that is sent is read, so that the server's response is not lost with the data it did not read."""
    with connected(gateway.url) as connection:
        answer = sent(connection, GET + b"X: " + b"x" * MAX_HEAD_BYTES)
    assert status(answer) == b"431"


CHUNKED = b"POST /graphql HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
QUERY = b'{"query": "{ __typename }"}'


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


FRAMING = MAX_FRAMING_BYTES + 2 * PIECE_BYTES
"""Enough to be above the bound wherever the pieces begin that are counted."""


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(chunk(QUERY) + b"0\r\n" + b"a: b\r\n" * (FRAMING // 6), id="many trailers"),
        pytest.param(chunk(QUERY) + b"0\r\na: " + b"b" * FRAMING, id="one trailer"),
        pytest.param(chunk(QUERY) + b"0\r\n" + b"a" * FRAMING, id="a trailer's name"),
        pytest.param(b"1;a=" + b"b" * FRAMING, id="one chunk extension"),
        pytest.param(chunk(b" ", b";a=" + b"b" * 200) * (FRAMING // 150), id="many chunk extensions"),
        pytest.param(chunk(QUERY) + b"0" * FRAMING, id="the size of a chunk"),
    ],
)
def test_trailers_and_chunk_extensions_are_limited(gateway: Gateway, rest: bytes) -> None:
    with connected(gateway.url) as connection:
        answer = sent(connection, CHUNKED + b"\r\n" + rest)
    assert status(answer) == b"431"
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([QUERY], id="one chunk"),
        pytest.param([b" "] * 20_000 + [QUERY], id="chunks of a byte"),
        pytest.param([QUERY, *[b" " * 5_000] * 20], id="large chunks"),
    ],
)
def test_a_chunked_request_with_a_few_trailers_is_answered(gateway: Gateway, chunks: list[bytes]) -> None:
    body = b"".join(map(chunk, chunks)) + b"0\r\nX-Checksum: 1\r\n\r\n"
    with connected(gateway.url) as connection:
        answer = sent(connection, CHUNKED + b"Connection: close\r\n\r\n" + body)
    assert answer.endswith(b'{"data":{"__typename":"Query"}}'), answer


class Waiting:
    """An application that responds to no request before it may, and a connection that counts the waiting ones."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.most = 0
        self.paths: list[str] = []
        outer = self

        class Connection(BoundedConnection):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                outer.most = max(outer.most, self.waiting)

        self.connection = Connection

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await asyncio.to_thread(self.open.wait, 10)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def test_only_a_few_pipelined_requests_wait_on_a_connection() -> None:
    """All of them are answered in the end, in their order."""
    app, count = Waiting(), 2_000
    config = gateway_config(app, http=app.connection, lifespan="off")
    requests = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(count))
    with BackgroundServer(config) as server, connected(server.url) as connection:
        connection.sendall(requests + b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
        while not app.most:
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
        app.open.set()
        connection.settimeout(30)
        answer = sent(connection)
    assert answer.count(b"HTTP/1.1 200") == count + 1
    assert app.paths == [f"/{number}" for number in range(count)] + ["/last"]
    assert app.most <= MAX_WAITING_REQUESTS + PIECE_BYTES // len(b"GET /0 HTTP/1.1\r\n\r\n")


class Impatient(BoundedConnection):
    """Gives a body a second."""

    body_seconds = 1


@pytest.mark.slow  # it waits for seconds
@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(b"/graphql", [], id="no byte of it"),
        pytest.param(b"/graphql", [chunk(QUERY)], id="a part of it"),
        pytest.param(b"/graphql", [chunk(b" ")] * 100_000, id="a byte at a time"),
        pytest.param(b"/health", [chunk(b" ")] * 100_000, id="a byte at a time, after the response"),
    ],
)
def test_a_body_that_does_not_end_is_refused(upstream: str, path: bytes, body: list[bytes]) -> None:
    app = create_app(settings(upstream_url=upstream, **SERVICE))
    head = CHUNKED.replace(b"/graphql", path).replace(b"POST", b"GET" if path == b"/health" else b"POST") + b"\r\n"
    with BackgroundServer(gateway_config(app, http=Impatient)) as server, connected(server.url) as connection:
        connection.sendall(head)
        answer = trickled(connection, body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == (b"200" if path == b"/health" else b"408")


def trickled(connection: socket.socket, pieces: list[bytes]) -> bytes:
    """Send a piece each time that nothing is received for a moment, and return everything received to the end."""
    received = b""
    waiting = iter(pieces)
    try:
        while True:
            connection.settimeout(0.02)
            try:
                chunk = connection.recv(65_536)
            except TimeoutError:
                connection.settimeout(10)
                connection.sendall(next(waiting, b""))
                continue
            if not chunk:
                return received
            received += chunk
    except (BrokenPipeError, ConnectionResetError):
        return received


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_pipelines_and_hangs_up_makes_no_error(
    start: StartGateway, caplog: pytest.LogCaptureFixture, sandbox: Sandbox, *, reset: bool
) -> None:
    gateway = start()
    sandbox.faults.add(Fault(delay=0.1))
    body = b'{"query": "{ thread(id: 1) { id } }"}'
    head = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for number in range(3):
        with connected(gateway.url) as connection:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall((head % len(body) + body) * 5)
            while sandbox.count() <= number:
                assert gateway.http.get("/health").status_code == 200
    gateway.query("{ thread(id: 2) { id } }")  # slower than what the others still have to do
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_large_body_does_not_count_as_head(gateway: Gateway) -> None:
    query = '{ thread(id: "th-1") { id } }' + " " * 30_000
    for _ in range(3):
        answer = gateway.http.post("/graphql", json={"query": query, "variables": {"a": "x" * 500_000}})
        assert answer.status_code == 200
        assert answer.json()["data"] == {"thread": {"id": "th-1"}}


@pytest.fixture
def impatient(upstream: str) -> Iterator[str]:
    """A gateway that keeps idle connections for a second."""
    config: Any = gateway_config(create_app(settings(upstream_url=upstream, **SERVICE)))
    config.timeout_keep_alive = 1
    with BackgroundServer(config) as server:
        yield server.url


@pytest.mark.slow  # it waits for seconds
@pytest.mark.parametrize("text", [b"", GET, GET + b"\r\n" + GET], ids=["nothing", "half a request", "one and a half"])
def test_a_connection_without_a_complete_request_is_closed(impatient: str, text: bytes) -> None:
    with connected(impatient) as connection:
        answer = sent(connection, text)
    assert answer.count(b"HTTP/1.1 ") == text.count(b"\r\n\r\n")


@pytest.mark.parametrize("name", ["accept", "accept-encoding"])
def test_preferences_that_are_too_long_are_ignored(gateway: Gateway, name: str) -> None:
    value = ", ".join(f"text/x{number}" for number in range(4_000))
    assert len(value) < MAX_HEAD_BYTES
    answer = gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers={name: value})
    assert answer.json() == {"data": {"__typename": "Query"}}
