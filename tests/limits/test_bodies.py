"""The bodies that are being read take a bounded part of a worker's memory, however many connections send one."""

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.web.graphql.decode import room_for
from tests.harness import Gateway, StartGateway
from tests.programs import until

MEGABYTE = 2**20
SMALL = {"query": "{ __typename }"}
LARGE = {**SMALL, "variables": {"pad": "x" * 900_000}}
BEGINNING = b'{"query": "' + b"x" * 1_000_000


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(max_body=MEGABYTE)


def begin_body(stack: ExitStack, gateway: Gateway) -> None:
    """Send a body but for its end. In passthrough mode nothing is known of the credentials yet."""
    address = urlsplit(gateway.url)
    connection = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 0), 30))
    head = "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Basic YTpi\r\n"
    connection.sendall(f"{head}content-length: {MEGABYTE}\r\n\r\n".encode() + BEGINNING)


def sent(gateway: Gateway, body: object) -> httpx.Response:
    return gateway.http.post("/graphql", json=body)


def test_a_body_that_finds_no_room_is_refused_until_others_are_read(gateway: Gateway) -> None:
    assert sent(gateway, LARGE).status_code == 200
    with ExitStack() as stack:
        for _ in range(48 * MEGABYTE // len(BEGINNING)):
            begin_body(stack, gateway)

        def is_full() -> bool:
            """Begin another body as well: one of the first may have found no room beside the large one."""
            begin_body(stack, gateway)
            return sent(gateway, LARGE).status_code == 503

        until(is_full, "the room is taken")
        refused = sent(gateway, LARGE)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        (error,) = refused.json()["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert sent(gateway, SMALL).status_code == 200, "what arrives at once takes no room"
    until(lambda: sent(gateway, LARGE).status_code == 200, "clients that hung up give their room back")


def test_refused_and_too_large_bodies_give_their_room_back(gateway: Gateway) -> None:
    with ExitStack() as stack:
        for _ in range(48 * MEGABYTE // len(BEGINNING) - 2):
            begin_body(stack, gateway)
        for _ in range(10):
            assert sent(gateway, {"query": "x" * (2 * MEGABYTE)}).status_code == 413
            assert sent(gateway, LARGE).status_code == 200


def test_there_is_always_room_for_two_of_the_largest_bodies() -> None:
    assert room_for(MEGABYTE).left == 48 * MEGABYTE
    assert room_for(100 * MEGABYTE).left == 200 * MEGABYTE
