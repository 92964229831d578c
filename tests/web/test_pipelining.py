"""Several requests in one piece of data: answered in their order, and nothing is done that nobody waits for."""

import re
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from gateway.sandbox import Fault, Sandbox
from gateway.server.connection import MAX_HEAD_BYTES
from tests.harness import Gateway
from tests.programs import until

POST = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


def sized(number: int) -> bytes:
    body = b'{"query": "{ thread(id: \\"th-%d\\") { id } }"}' % number
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(number: int) -> bytes:
    body = sized(number).partition(b"\r\n\r\n")[2]
    chunks = b"5;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


HEAD = b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: a\r\nGateway-Require-Preflight: 1\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UPGRADE = (
    b"GET /graphql HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


def answers(gateway: Gateway, data: bytes, *, piece: int = 2**20) -> bytes:
    """Send the data in pieces, and return what comes until the server closes the connection."""
    address = urlsplit(gateway.url)
    with closing(socket.create_connection((address.hostname or "", address.port or 0), 30)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            for start in range(0, len(data), piece):
                connection.sendall(data[start : start + piece])
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
        return received


def statuses(received: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", received)


@pytest.mark.parametrize("piece", [1, 7, 2**20])
def test_requests_of_all_kinds_are_answered_in_their_order(gateway: Gateway, piece: int) -> None:
    """A body, trailers or a HEAD do not shift what belongs to the request that follows."""
    received = answers(gateway, sized(1) + HEAD + chunked(2) + GET + HEAD + sized(3) + LAST, piece=piece)
    assert statuses(received) == [b"200"] * 7
    told = re.findall(rb'"id":"(th-\d)"|("__typename")', received)
    assert [first or second for first, second in told] == [b"th-1", b"th-2", b'"__typename"', b"th-3"]


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(LAST, id="the last request by its own word"),
        pytest.param(LAST.replace(b"HTTP/1.1", b"HTTP/1.0"), id="a request of HTTP/1.0"),
        pytest.param(b"nonsense\r\n\r\n", id="no request"),
    ],
)
def test_what_follows_the_last_request_is_not_executed(gateway: Gateway, sandbox: Sandbox, last: bytes) -> None:
    gateway.data('{ thread(id: "th-5") { id } }')
    sandbox.clear()
    received = answers(gateway, last + sized(1) * 3)
    assert len(statuses(received)) == 1
    assert gateway.data('{ thread(id: "th-2") { id } }')
    assert sandbox.count("thread") == 1


def test_an_upgrade_behind_a_request_that_is_under_way_ends_the_connection(gateway: Gateway, sandbox: Sandbox) -> None:
    """The WebSocket would begin in the middle of the response."""
    gateway.data('{ thread(id: "th-5") { id } }')
    sandbox.clear()
    sandbox.faults.add(Fault("thread", hold="gate"))
    try:
        received = answers(gateway, sized(1) + UPGRADE + sized(2))
    finally:
        sandbox.release("gate")
    assert b"101" not in statuses(received)
    until(lambda: gateway.http.get("/health").status_code == 200, "others are served")
    assert sandbox.count("thread") <= 1, "what came behind the upgrade is not read as a request"


def offering(request: bytes) -> bytes:
    """Return the request with the offer to speak HTTP/2, which Java's client makes on each new connection."""
    return request.replace(b"\r\n", b"\r\n" + OFFER, 1)


@pytest.mark.parametrize("piece", [1, 50, 2**20])
def test_the_offer_of_another_protocol_is_ignored(gateway: Gateway, piece: int) -> None:
    """RFC 9110, section 7.8. The body belongs to the request, and what follows is the next one."""
    requests = [offering(GET), offering(sized(1)), sized(2), offering(chunked(3)), offering(HEAD), sized(4), LAST]
    received = answers(gateway, b"".join(requests), piece=piece)
    assert statuses(received) == [b"200"] * 7
    assert re.findall(rb'"id":"(th-\d)"', received) == [b"th-1", b"th-2", b"th-3", b"th-4"]


@pytest.mark.parametrize("connection", [b"close, Upgrade, HTTP2-Settings", b"upgrade ,CLOSE", b"Upgrade"])
def test_what_else_a_request_with_an_offer_says_of_its_connection_holds(gateway: Gateway, connection: bytes) -> None:
    first = GET.replace(b"Host: a\r\n", b"Host: a\r\nUpgrade: h2c\r\nConnection: %b\r\n" % connection)
    received = answers(gateway, first + LAST)
    assert len(statuses(received)) == (1 if b"close" in connection.lower() else 2)


def test_an_offer_does_not_make_a_head_smaller(gateway: Gateway) -> None:
    large = b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n"
    assert statuses(answers(gateway, offering(GET).replace(b"Host: a\r\n", b"Host: a\r\n" + large))) == [b"431"]


def test_connect_is_no_method_of_ours(gateway: Gateway) -> None:
    assert statuses(answers(gateway, b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n" + LAST))[0] in {
        b"400",
        b"404",
        b"405",
    }
