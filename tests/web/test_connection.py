"""The head of a request is limited in size and in time, before the caller is authenticated."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer
from gateway.server.config import gateway_config
from gateway.server.connection import MAX_HEAD_BYTES
from tests.harness import SERVICE, Gateway, settings

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
    with connected(gateway.url) as connection:
        answer = sent(connection, GET, b"X: ", *[b"x" * 10_000] * 1_000)
    assert status(answer) == b"431" or not answer
    assert gateway.http.get("/health").status_code == 200


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
