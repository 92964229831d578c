"""What crosses on the way: completes that meet results, ids that are used again, and clients that leave."""

import json
import os
import random
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.web.streams.conftest import LiveGateway
from tests.web.streams.sockets import Socket, begun, opened

ROUNDS = int(os.environ.get("SOCKET_ROUNDS", "1000"))
OPERATIONS = [
    "query { r%d: __typename }",
    'query { r%d: thread(id: "th-1") { id } }',
    'subscription { r%d: threadUpdated(id: "th-1") { id } }',
    'subscription { r%d: threadUpdated(id: "th-2") { id status } }',
    "query { r%d: nothing }",
]


def until_pong(socket: Socket, number: int) -> list[str]:
    """Return the messages before the pong with this number."""
    received: list[str] = []
    while True:
        text = str(socket.connection.recv(timeout=20))
        message = json.loads(text)
        if message["type"] == "pong":
            assert message["payload"]["n"] == number
            return received
        if message["type"] == "ping":
            socket.send({"type": "pong"})
            continue
        received.append(text)


@pytest.mark.slow  # a thousand races
def test_nothing_follows_a_complete_however_it_is_raced(live: LiveGateway) -> None:
    """All rounds use one id. What the gateway sends after it has read a complete is of a later round."""
    chosen = random.Random(7)  # noqa: S311 - which round does what
    with begun(live) as socket:
        for number in range(ROUNDS):
            query = chosen.choice(OPERATIONS) % number
            socket.subscribe("the id", query)
            waits = chosen.random() < 0.3
            if waits:  # the complete comes when the first result is on its way, or later
                socket.send({"type": "ping", "payload": {"n": -1}})
                until_pong(socket, -1)
            socket.send({"type": "complete", "id": "the id"})
            socket.send({"type": "ping", "payload": {"n": number}})
            until_pong(socket, number)
            socket.send({"type": "ping", "payload": {"n": number}})
            assert until_pong(socket, number) == []
        assert socket.result("the id", "{ __typename }") == {"data": {"__typename": "Query"}}
    live.wait_until_open(0)


def test_completes_that_are_sent_without_waiting_leave_nothing_behind(live: LiveGateway) -> None:
    """The client sends everything at once, and reads only then."""
    with begun(live) as socket:
        for number in range(ROUNDS // 4):
            socket.subscribe(f"id {number % 7}", OPERATIONS[number % 5] % number)
            socket.send({"type": "complete", "id": f"id {number % 7}"})
        socket.send({"type": "ping", "payload": {"n": 0}})
        until_pong(socket, 0)
        socket.send({"type": "ping", "payload": {"n": 1}})
        assert until_pong(socket, 1) == []
    live.wait_until_open(0)


@pytest.mark.parametrize("leave", [Socket.send, None], ids=["closes", "is gone"])
def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    live: LiveGateway, leave: Callable[..., None] | None
) -> None:
    chosen = random.Random(8)  # noqa: S311 - as above
    for number in range(60):
        with ExitStack() as stack:
            socket = stack.enter_context(opened(live))
            steps = chosen.randrange(4)
            if steps:
                socket.send({"type": "connection_init"})
            if steps > 1:
                socket.receive()
                socket.subscribe("1", OPERATIONS[2 + number % 2] % number)
            if steps > 2:
                socket.receive()
            if leave is None:
                socket.connection.socket.close()
    live.wait_until_open(0)
