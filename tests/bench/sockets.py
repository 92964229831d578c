# ruff: noqa: T201 - a benchmark prints
"""Measure what an idle subscription on a WebSocket costs, and how soon many subscribers of a thread get a change."""

import argparse
import asyncio
import json
import os
import resource
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.bench.processes import Process, gateway, upstream
from tests.bench.shapes import SMALL

_AT_ONCE = 100
_PATIENCE = 60.0  # seconds
_MASK = b"\0\0\0\0"  # a mask of zeros changes nothing, and is as good as any other here
_HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nSec-WebSocket-Key: "
    + b64encode(os.urandom(16))
    + b"\r\n\r\n"
)
_PONG = b'{"type":"pong"}'


class Client(asyncio.Protocol):
    """A WebSocket that answers pings, and counts what else it gets. It is small, so that thousands fit."""

    __slots__ = ("_buffer", "_is_open", "_on_message", "_transport")

    def __init__(self, on_message: Callable[["Client", bytes], None]) -> None:
        self._on_message = on_message
        self._buffer = b""
        self._is_open = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        """Read the messages that are complete."""
        self._buffer += data
        if not self._is_open:
            head, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open = True
            self.send(b'{"type":"connection_init","payload":{"authorization":"Bearer bench"}}')
        while (message := self._next()) is not None:
            if message == b'{"type":"ping"}':
                self.send(_PONG)
            else:
                self._on_message(self, message)

    def _next(self) -> bytes | None:
        if len(self._buffer) < 2:
            return None
        size, start = self._buffer[1], 2
        if size == 126:
            size, start = struct.unpack("!H", self._buffer[2:4])[0], 4
        if len(self._buffer) < start + size:
            return None
        message, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        return message

    def send(self, message: bytes) -> None:
        """Send a text."""
        size = len(message)
        head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0x80 | 126]) + struct.pack("!H", size)
        self._transport.write(head + _MASK + message)


async def _connect(port: int, thread: str) -> Client:
    ready = asyncio.get_running_loop().create_future()
    query = f'subscription {{ threadUpdated(id: "{thread}") {{ id status }} }}'
    subscribe = json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}).encode()

    def received(client: Client, message: bytes) -> None:
        if message == b'{"type":"connection_ack"}':
            client.send(subscribe)
        elif not ready.done():
            if b'"data"' in message:
                ready.set_result(None)
            else:
                ready.set_exception(RuntimeError(message.decode()))

    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(received), "127.0.0.1", port)
    async with asyncio.timeout(_PATIENCE):
        await ready
    return client


async def _idle(server: Process, connections: int, seconds: float) -> None:
    port = urlsplit(server.url).port or 0
    warm = [await _connect(port, f"thread-{number}") for number in range(50)]
    before, processor = server.memory, server.cpu
    open_now = list(warm)
    while len(open_now) - len(warm) < connections:
        count = min(_AT_ONCE, connections + len(warm) - len(open_now))
        open_now += await asyncio.gather(*(_connect(port, f"thread-{number % 50}") for number in range(count)))
    opened, after_opening = server.memory, server.cpu
    began = time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    print(f"{connections} idle subscriptions, each on a WebSocket of its own:")
    print(f"  resident memory: {before:.0f} MiB with 50, {server.memory:.0f} MiB now ({opened:.0f} when all were open)")
    print(f"  {(server.memory - before) * 1024 / connections:.1f} KiB for each of them")
    print(f"  opening one took {(after_opening - processor) / connections * 1e6:.0f} us of processor time")
    print(f"  idle: {(server.cpu - after_opening) / took:.1%} of a core, for heartbeats and resynchronisation")


def idle(connections: int, seconds: float) -> None:
    """Open the connections, let them be idle for a while, and print the memory."""
    with (
        _enough_files(connections),
        upstream({"small": SMALL.document}) as api,
        gateway(
            GATEWAY_MAX_SUBSCRIPTIONS=str(connections + 100),
            GATEWAY_MAX_SUBSCRIPTIONS_PER_CALLER=str(connections + 100),
        )(api.url, "gateway") as server,
    ):
        asyncio.run(_idle(server, connections, seconds))


@contextmanager
def _enough_files(connections: int) -> Iterator[None]:
    """Raise the limit of open files, which the gateway inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, connections + 500)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SystemExit(f"{connections} connections need {wanted} open files; `ulimit -Hn` is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sockets", description=__doc__)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=15, help="how long they are idle: heartbeats come every 12")
    options = parser.parse_args()
    idle(options.connections, options.seconds)
