"""Accepts connections on the listening socket, in one process for itself and in several by their supervisor.

Where no file descriptor is left, accepting pauses. The connections wait in the kernel's queue, and are served when
others have ended. uvloop would accept them and close them at once, without a line in the log.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from gateway.server.listeners import listen, url_of
from gateway.telemetry import Shortage, is_shortage, logger

BACKLOG: Final = 2048
"""Connections that the kernel keeps until they are accepted; it may be set to keep fewer."""

CONNECTIONS_WAIT: Final = "new connections wait"
"""What happens where no descriptor is left, for the log."""

PAUSE_SECONDS: Final = 0.1
"""How long no connection is accepted after one could not be."""

_BATCH = 64  # accepted in one turn of the event loop


class Acceptor:
    """Accepts connections and gives each to ``take``, which returns whether it took it; if not, it is asked again."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._take: Callable[[socket.socket], bool] = _refuse
        self._refused: socket.socket | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._shortage = Shortage(CONNECTIONS_WAIT)

    def start(self, take: Callable[[socket.socket], bool]) -> None:
        """Listen, and accept connections in the running event loop; ConfigurationError if the port is taken."""
        self._take = take
        self._listener.setblocking(False)
        listen(self._listener, BACKLOG)
        logger.info("listening on %s/graphql", url_of(self._listener))
        self._read()

    def finish(self) -> None:
        """Accept every connection that waits, and close the listener: later ones are refused."""
        self._stop_reading()
        while self._accept_one():
            pass
        self._listener.close()
        if self._refused is not None:
            self._refused.close()

    def _read(self) -> None:
        self._resume = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        self._accept()

    def _stop_reading(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        elif self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._accept_one():
                break

    def _accept_one(self) -> bool:
        """Return whether another connection may wait."""
        connection, self._refused = self._refused, None
        try:
            connection = connection or self._listener.accept()[0]
        except BlockingIOError:
            return False
        except OSError as exc:
            if not is_shortage(exc):
                return True  # that connection has ended already (accept(2))
            self._shortage.report()
            self._pause()
            return False
        if self._take(connection):
            return True
        self._refused = connection
        self._pause()
        return False

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        if self._resume is None:
            self._resume = loop.call_later(PAUSE_SECONDS, self._read)


class ListeningSource:
    """The connections of a server that is alone on its port."""

    def __init__(self, listener: socket.socket) -> None:
        self._acceptor = Acceptor(listener)

    def start(self, take: Callable[[socket.socket], None]) -> None:
        """Accept connections for ``take``."""

        def always(connection: socket.socket) -> bool:
            take(connection)
            return True

        self._acceptor.start(always)

    async def stop(self) -> None:
        """Accept what waits, and close the port."""
        self._acceptor.finish()


def _refuse(_connection: socket.socket) -> bool:
    return False
