"""A client of ``graphql-transport-ws`` for tests, which sends what it is told, also what no client would."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.harness import Gateway

SUBPROTOCOL = Subprotocol("graphql-transport-ws")
ACK = {"type": "connection_ack"}
Message = dict[str, Any]


class Socket:
    """An open socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, message: Any) -> None:
        """Send a value as JSON."""
        self.connection.send(json.dumps(message))

    def receive(self) -> Message:
        """Return the next message."""
        message: Message = json.loads(self.connection.recv(timeout=20))
        return message

    def begin(self, payload: Any = None) -> None:
        """Initialise the connection, and expect that it is acknowledged."""
        self.send({"type": "connection_init", "payload": payload})
        assert self.receive() == ACK

    def subscribe(self, identifier: str, query: Any, **parameters: Any) -> None:
        """Send an operation."""
        self.send({"type": "subscribe", "id": identifier, "payload": {"query": query, **parameters}})

    def result(self, identifier: str, query: str, **parameters: Any) -> Any:
        """Send an operation with one result, and return that once it is complete."""
        self.subscribe(identifier, query, **parameters)
        result = self.receive()
        assert (result["id"], result["type"]) == (identifier, "next"), result
        assert self.receive() == {"id": identifier, "type": "complete"}
        return result["payload"]

    def error(self, identifier: str, query: Any, **parameters: Any) -> Message:
        """Send an operation, expect one error, and return that."""
        self.subscribe(identifier, query, **parameters)
        result = self.receive()
        assert (result["id"], result["type"]) == (identifier, "error"), result
        (error,) = result["payload"]
        return dict(error)

    def closed(self) -> tuple[int | None, str]:
        """Return the code and the reason with which the gateway closes, and expect no message before."""
        with pytest.raises(ConnectionClosed) as closed:
            self.connection.recv(timeout=20)
        received = closed.value.rcvd
        return (None, "") if received is None else (received.code, received.reason)


@contextmanager
def opened(
    gateway: Gateway, headers: dict[str, str] | None = None, subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
) -> Iterator[Socket]:
    """Open a socket, without initialising its connection."""
    url = gateway.url.replace("http", "ws", 1) + "/graphql"
    protocols = [Subprotocol(each) for each in subprotocols]
    options: Any = {"subprotocols": protocols or None, "additional_headers": headers, "proxy": None}
    with connect(url, ping_interval=None, max_size=None, **options) as connection:
        yield Socket(connection)


@contextmanager
def begun(gateway: Gateway, payload: Any = None, **options: Any) -> Iterator[Socket]:
    """Open a socket whose connection is acknowledged."""
    with opened(gateway, **options) as socket:
        socket.begin(payload)
        yield socket
