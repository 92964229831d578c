"""Hands accepted connections from the supervisor to its workers, over a pair of sockets for each worker.

    supervisor ── a byte, with the connection's descriptor ──▶ worker
               ◀── READY, ALIVE once a second, LEAVING ──

After LEAVING the supervisor closes its side. What it sent before is still served: a connection that was accepted is
never lost. Where that side closes without LEAVING, the supervisor has died, and the worker ends.

Why not one listener for all workers: the first to wake up takes everything, 3,347 requests against none. Why not
SO_REUSEPORT: the kernel chooses by a hash, 2:1 for 32 connections now and then, and closing a listener resets the
connections in its queue.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

from gateway.server.accepting import CONNECTIONS_WAIT, PAUSE_SECONDS
from gateway.telemetry import Shortage, logger

READY: Final = b"r"
ALIVE: Final = b"a"
LEAVING: Final = b"l"
BEAT_SECONDS: Final = 1
"""How often a worker says that its event loop runs."""

_CONNECTION = b"c"
_LEAVE_SECONDS = 5.0  # for the supervisor's answer


def hand_over(connection: socket.socket, channel: socket.socket) -> bool:
    """Send ``connection`` to the worker behind ``channel``, and return whether that was possible at once."""
    try:
        socket.send_fds(channel, [_CONNECTION], [connection.fileno()])
    except OSError:  # too many are on their way, or the worker has died
        return False
    connection.close()
    return True


class HandedOver:
    """The worker's side: the connections that its supervisor sends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._take: Callable[[socket.socket], None] = socket.socket.close
        self._leaving = False
        self._over = asyncio.Event()
        self._shortage = Shortage(CONNECTIONS_WAIT)

    def start(self, take: Callable[[socket.socket], None]) -> None:
        """Tell the supervisor to send connections."""
        self._take = take
        self._channel.setblocking(False)
        self._read()
        self._tell(READY)

    async def alive(self) -> None:
        """Tell the supervisor that the event loop runs."""
        self._tell(ALIVE)

    async def stop(self) -> None:
        """Tell the supervisor to send no more, and wait for the last."""
        self._leaving = True
        self._tell(LEAVING)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._over.wait()
        except TimeoutError:
            logger.error("the supervisor does not answer: the worker ends without it")

    def _tell(self, message: bytes) -> None:
        try:
            self._channel.send(message)
        except OSError:  # it has died: `_receive` notices
            return

    def _receive(self) -> None:
        while not self._over.is_set():
            if not self._has_room():
                return
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self._end()
            elif descriptors:
                self._take(socket.socket(fileno=descriptors[0]))

    def _has_room(self) -> bool:
        """Return whether a descriptor is left. Without one the kernel would close the connection that is received."""
        try:
            os.close(os.dup(self._channel.fileno()))
        except OSError:
            self._shortage.report()
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._channel)
            loop.call_later(PAUSE_SECONDS, self._read)
            return False
        return True

    def _read(self) -> None:
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self._receive()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self._over.set()
        if not self._leaving:
            logger.error("the supervisor has died: its worker %d ends", os.getpid())
            signal.raise_signal(signal.SIGINT)
