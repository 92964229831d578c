"""Hostile clients and a hostile REST API: what they send, each kind as large as the limits allow or larger."""

import gzip
import json
import socket
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

MEGABYTE = 1024 * 1024
LARGEST = 4 * MEGABYTE - 4096
"""As large as a REST body may be by default, with a little room for what is around it."""

_WEBHOOK = 256 * 1024 - 100
"""As large as the body of a webhook may be, with the same room."""

ALL_TEXTS = 10 * MEGABYTE - 4096
"""As large as all REST bodies of an operation may be, with the same room."""

_SECONDS = 2
"""How long a client sends what nobody reads."""


def listed(item: bytes, size: int) -> bytes:
    """Return a JSON list of about ``size`` bytes."""
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


# What is sent before authentication

_CHUNKED = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
_SIZED = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\n\r\n"
_HEAD = b"HEAD /health HTTP/1.1\r\n\r\n"
_UPGRADE = (
    b"GET /graphql HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


_TYPENAME = b'{"query": "{ __typename }"}'


def _request(body: bytes) -> bytes:
    return _SIZED % len(body) + body


REQUESTS: dict[str, Callable[[], bytes]] = {
    "many trailers": lambda: _CHUNKED + b"1\r\n{\r\n0\r\n" + b"a: b\r\n" * (20 * MEGABYTE // 6),
    "one trailer": lambda: _CHUNKED + b"1\r\n{\r\n0\r\na: " + b"b" * 60 * MEGABYTE,
    "a chunk extension": lambda: _CHUNKED + b"1;a=" + b"b" * 20 * MEGABYTE,
    "chunks of one byte": lambda: _CHUNKED + b"1\r\n \r\n" * MEGABYTE,
    "pipelined requests": lambda: _GET * (8 * MEGABYTE // len(_GET)),
    "pipelined operations": lambda: _request(_TYPENAME) * 20_000,
    "pipelined requests of all kinds": lambda: (
        (_request(_TYPENAME) + _HEAD + _CHUNKED + b"%x\r\n%b\r\n0\r\na: b\r\n\r\n" % (len(_TYPENAME), _TYPENAME))
        * 10_000
    ),
    "pipelined upgrades": lambda: (_request(_TYPENAME) * 5 + _UPGRADE) * 2_000,
    "a header without an end": lambda: b"GET / HTTP/1.1\r\nX: " + b"x" * 20 * MEGABYTE,
    "many headers": lambda: b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (20 * MEGABYTE // 6),
    "a body above the limit": lambda: _request(b" " * 20 * MEGABYTE),
    "long numbers": lambda: _request(b'{"query": "{ a }", "variables": {"a": %b}}' % listed(b"1" * 4_290, 10**6)),
    "lists in lists": lambda: _request(b'{"query": "{ a }", "variables": {"a": %b}}' % listed(b"[[]]", 10**6)),
}
"""The bytes that a client without credentials sends, by what is large in them."""


_EMPTY = b"\x80\0\0\0\0"

FRAMES: dict[str, Callable[[], bytes]] = {
    "empty messages": lambda: (b"\x81" + _EMPTY) * MEGABYTE,
    "empty fragments": lambda: b"\x01" + _EMPTY + (b"\0" + _EMPTY) * MEGABYTE,
    "fragments of one byte": lambda: b"\x01" + _EMPTY + b"\0\x81\0\0\0\0a" * 65_535,
    "pings": lambda: (b"\x89" + _EMPTY) * MEGABYTE,
}
"""The frames that a client without credentials sends on a WebSocket, by what they are."""


WEBHOOK_AUTHORIZATION = "Bearer an-authorization-of-the-tests"

WEBHOOKS: dict[str, Callable[[], bytes]] = {
    "things without an id": lambda: b'{"data": %b}' % listed(b"{}", _WEBHOOK),
    "one id many times": lambda: b'{"data": {"thread_ids": %b}}' % listed(b"1", _WEBHOOK),
    "lists in lists": lambda: b'{"data": {"a": %b}}' % listed(b"[[]]", _WEBHOOK),
}
"""The bodies of webhooks, as large as one may be, by what is in them."""


def send(url: str, data: bytes) -> None:
    """Send the bytes until the server has them all, does not take more, or closes the connection; then hang up."""
    with _connected(url) as connection, suppress(ConnectionError, TimeoutError):
        connection.sendall(data)
        connection.recv(65_536)


def send_frames(url: str, frames: bytes) -> None:
    """Do the same on a WebSocket: a server takes nothing before it has answered the handshake."""
    with _connected(url) as connection, suppress(ConnectionError, TimeoutError):
        connection.sendall(_UPGRADE)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 101 ")
        connection.sendall(frames)
        connection.recv(65_536)


@contextmanager
def _connected(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname or "", address.port or 0), 10)) as connection:
        connection.settimeout(_SECONDS)
        yield connection


# What the REST API answers


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the REST API. ``head`` comes before it, and its body may be compressed."""

    body: bytes = b"{}"
    status: int = 200
    head: bytes = b""
    encoding: bytes = b"identity"
    chunk: int = 0
    """The size of its chunks; 0 sends it with its length."""

    @property
    def content(self) -> bytes:
        """The bytes on the wire."""
        head = b"%bHTTP/1.1 %d Any\r\nContent-Encoding: %b\r\n" % (self.head, self.status, self.encoding)
        if not self.chunk:
            return head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body
        pieces = [self.body[start : start + self.chunk] for start in range(0, len(self.body), self.chunk)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class HostileServer:
    """A REST API that has an answer for each id of a thread."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        answers = self.answers

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionError):
                    while line := self.rfile.readline():
                        while self.rfile.readline().strip():
                            pass
                        self.request.sendall(answers[line.split()[1].decode().rpartition("/")[2]])

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


# Operations, with what the REST API answers


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, and the REST API's answer for each thread."""

    query: str
    variables: Mapping[str, Any]
    answers: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The body of the request."""
        return json.dumps({"query": self.query, "variables": self.variables}).encode()


def _aliases(count: int, text: str) -> str:
    return " ".join(f"a{number}: {text}" for number in range(count))


def _thread(body: bytes, selection: str = "", **answer: Any) -> Operation:
    everything = (
        "id tags status attachments { id attachmentMovements { total movements { agentId customerId fileId } } }"
        " customers { id customFields } lastMessage { id content }"
    )
    query = "query ($a: ID!) { thread(id: $a) { " + (selection or everything) + " } }"
    return Operation(query, {"a": "x"}, {"x": Answer(body, **answer)})


def _customer(custom_fields: bytes) -> Operation:
    return _thread(b'{"id": "x", "customers": [{"id": "1", "custom_fields": %b}]}' % custom_fields)


def _moved(movements: bytes) -> Operation:
    return _thread(b'{"id": "x", "attachments": [{"id": "1", "attachment_movements": {"movements": %b}}]}' % movements)


def _text(text: bytes, selection: str = "") -> Operation:
    return _thread(b'{"id": "x", "last_message": {"id": "1", "content": "%b"}}' % text, selection)


def _texts(text: bytes) -> Operation:
    """Return an operation with as many such texts as it may have. A wide character makes a text four times as large."""
    thread = Answer(b'{"id": "x", "last_message": {"id": "1", "content": "%b"}}' % text)
    ids = ["x", "y", "z"]
    query = "query ($a: [ID!]!) { threads(ids: $a) { lastMessage { content } } }"
    return Operation(query, {"a": ids}, dict.fromkeys(ids, thread))


def _pages(arguments: str) -> Operation:
    """Return an operation with many fields that wait for one page, and then read it."""
    messages = f"messages({arguments}) {{ edges {{ cursor node {{ content }} }} }}"
    page = b'{"messages": %b, "total": 100}' % listed(b'{"id": "1", "content": "%b"}' % (b"x" * 30_000), 3 * MEGABYTE)
    return Operation(
        "query ($a: [ID!]!) {" + _aliases(20, f"threads(ids: $a) {{ {messages} }}") + "}",
        {"a": ["x"] * 100},
        {"x": Answer(b'{"id": "x", "message_count": 100}'), "messages?offset=0&limit=100": Answer(page)},
    )


_CUSTOMER = json.dumps(
    {"id": "1", "first_name": "F" * 20, "contacts": "c" * 50, "custom_fields": {"a": [1, 2]}}
).encode()
_BIG = b'{"id": "x", "tags": %b, "customers": %b}' % (listed(b'"tag"', 6_000), listed(_CUSTOMER, 60_000))
_PARTS = "id tags customers { id firstName contacts customFields }"
_DEEP = b"[" * 400 + b"]" * 400
_SPACES = b'{"id": "x", "status": %b}'

OPERATIONS: dict[str, Callable[[], Operation]] = {
    "repeated ids": lambda: Operation(
        "query ($a: [ID!]!) {" + _aliases(20, f"threads(ids: $a) {{ {_PARTS} }}") + "}",
        {"a": ["x"] * 100},
        {"x": Answer(_BIG)},
    ),
    "repeated ids, and one that fails": lambda: Operation(
        "query ($a: [ID!]!) {" + _aliases(20, f"threads(ids: $a) {{ {_PARTS} }}") + "}",
        {"a": ["x"] * 5 + ["y"]},
        {"x": Answer(_BIG), "y": Answer(status=500)},
    ),
    "a repeated variable in fragments": lambda: Operation(
        "query ($a: ID!) { ...A } fragment A on Query {"
        + _aliases(5, f"threads(ids: [{'$a ' * 100}]) {{ ...B }}")
        + f"}} fragment B on Thread {{ {_PARTS} }}",
        {"a": "x"},
        {"x": Answer(_BIG)},
    ),
    "pages of repeated ids": lambda: _pages("first: 100"),
    "last pages of repeated ids": lambda: _pages("last: 100"),
    "repeated text": lambda: Operation(
        "query ($a: [ID!]!) {" + _aliases(20, "threads(ids: $a) { lastMessage { content } }") + "}",
        {"a": ["x"] * 100},
        {"x": Answer(b'{"id": "x", "last_message": {"id": "1", "content": "%b"}}' % (b"x" * 100_000))},
    ),
    "aliases of a long text": lambda: _text(b"x" * MEGABYTE, f"lastMessage {{ {_aliases(49, 'content')} }}"),
    "a long alias": lambda: _thread(
        b'{"id": "x", "customers": %b}' % listed(b'{"id": "1"}', 200_000), f"customers {{ {'a' * 30_000}: id }}"
    ),
    "deferred parts": lambda: _thread(
        b'{"id": "x", "customers": %b}' % listed(b'{"id":"1","first_name":"a"}', 200_000),
        "customers { id ... @defer { firstName } }",
    ),
    "as many deferred parts as there may be": lambda: _thread(
        b'{"id": "x", "customers": %b}' % listed(b'{"id":"1","first_name":"a"}', 28 * 1_000),
        "customers { id ... @defer { firstName } }",
    ),
    "streamed items": lambda: _thread(
        b'{"id": "x", "customers": %b}' % listed(b'{"id":"1","first_name":"a"}', 100_000), "customers @stream { id }"
    ),
    "entities that are none": lambda: Operation(
        "query ($a: [_Any!]!) {" + _aliases(20, "_entities(representations: $a) { __typename }") + "}",
        {"a": [{"__typename": "Thread", "id": 2**70}] * 2_000},
    ),
    "repeated entities": lambda: Operation(
        "query ($a: [_Any!]!) {" + _aliases(20, "_entities(representations: $a) { __typename }") + "}",
        {"a": [{"__typename": "Thread", "id": "x"}] * 2_000},
        {"x": Answer(b'{"id": "x"}')},
    ),
    "errors": lambda: _thread(b'{"errors": %b}' % listed(b"{}", LARGEST), status=400),
    "small errors": lambda: _thread(b'{"errors": %b}' % listed(b"{}", 60_000), status=400),
    "a list of long integers": lambda: _customer(b'{"a": %b}' % listed(b"1" * 4_290, LARGEST)),
    "members with long integers": lambda: _customer(
        b"{" + b",".join(b'"%d":%b' % (number, b"1" * 4_290) for number in range(950)) + b"}"
    ),
    "long integers in a small body": lambda: _customer(b'{"a": %b}' % listed(b"1" * 4_290, 250_000)),
    "movements": lambda: _moved(listed(b"{}", LARGEST)),
    "movements within the limit of values": lambda: _moved(listed(b"{}", 350_000)),
    "movements in a small body": lambda: _moved(listed(b"{}", 250_000)),
    "attachments": lambda: _thread(b'{"id": "x", "attachments": %b}' % listed(b'{"id":"1"}', LARGEST)),
    "tags": lambda: _thread(b'{"id": "x", "tags": %b}' % listed(b'""', LARGEST)),
    "a nested scalar": lambda: _thread(_SPACES % listed(_DEEP, LARGEST)),
    "a nested scalar in a small body": lambda: _thread(_SPACES % listed(_DEEP, 250_000)),
    "nested custom fields": lambda: _customer(listed(_DEEP, LARGEST)),
    "nested, and not selected": lambda: _thread(b'{"id": "x", "unknown": %b}' % listed(_DEEP, LARGEST), "id"),
    "keys": lambda: _thread(b'{"id": "x", %b}' % b",".join(b'"%d":1' % number for number in range(350_000)), "id"),
    "a long text": lambda: _text(b"x" * LARGEST),
    "a long text that is not ASCII": lambda: _text("\u00e9".encode() * (LARGEST // 2)),
    "texts of wide characters": lambda: _texts("\U0001f600".encode() + b"x" * (ALL_TEXTS // 3)),
    "texts with an escaped wide character": lambda: _texts(b"x" * (ALL_TEXTS // 3) + rb"\ud83d\ude00"),
    "a compressed body": lambda: _thread(zlib.compress(_SPACES % (b" " * LARGEST)), encoding=b"deflate"),
    "many compressed bodies in one": lambda: _thread(gzip.compress(b"") * (LARGEST // 20), encoding=b"gzip"),
    "chunks of one byte": lambda: _thread(_SPACES % (b" " * (LARGEST // 4)), chunk=1),
    "compressed chunks of one byte": lambda: _thread(
        zlib.compress(_SPACES % (b" " * (LARGEST // 4)), 0), encoding=b"deflate", chunk=1
    ),
    "repeated keys": lambda: _thread(b'{%b, "id": "x"}' % b",".join([b'"tags": ["a"]'] * (LARGEST // 14))),
    "numbers beyond any program": lambda: _customer(b'{"a": %b}' % listed(b"1e400", 600_000)),
    "escapes": lambda: _text(rb"\u0001" * (LARGEST // 6)),
    "a compressed body above the limit": lambda: _thread(zlib.compress(b" " * 20 * LARGEST), encoding=b"deflate"),
    "interim responses": lambda: _thread(b"{}", head=b"HTTP/1.1 100 Continue\r\n\r\n" * 300_000),
    "trailers": lambda: _thread(b"{}", head=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (LARGEST // 6)),
}
"""Operations whose response would be large or whose REST answers are hostile, by what is large."""
