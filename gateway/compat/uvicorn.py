"""What the server uses of uvicorn's undocumented behaviour. On its own, so that an upgrade is checked in one place.

Documented are the settings of ``Config`` (``http`` may be a class), ``Server.run(sockets=…)``, and that a server that
was stopped by a signal raises it again, for the handler from before, once it has shut down. Undocumented are the
methods of the class, and the supervisor of several workers.
"""

import os
import socket
import sys
from typing import NoReturn

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess


class RejectedHead(Exception):
    """A request that is not passed to the application; ``response`` is sent, and the connection is closed."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, with hooks of a fixed meaning.

    Subclasses also use ``loop``, ``transport`` and ``timeout_keep_alive``, and override ``shutdown``, which the server
    calls once on each connection when it stops; it then waits until all of them are closed.
    """

    _rejected: RejectedHead | None = None

    @property
    def head_size(self) -> int:
        """Bytes of the current request's target and headers."""
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def head_complete(self) -> None:
        """Called when the head of a request has been read; may raise `RejectedHead`."""

    def message_complete(self) -> None:
        """Called when a request has been read to its end."""

    def respond_and_close(self, response: bytes) -> None:
        """Send bytes, and close the connection."""
        self.transport.write(response)
        self.transport.close()

    def on_headers_complete(self) -> None:
        """Call the hook. httptools turns its exception into one for which uvicorn calls ``send_400_response``."""
        try:
            self.head_complete()
        except RejectedHead as exc:
            self._rejected = exc
            raise
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Call the hook."""
        self.message_complete()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that was rejected or cannot be parsed."""
        if self._rejected is None:
            super().send_400_response(msg)
        else:
            self.respond_and_close(self._rejected.response)


def run_workers(config: uvicorn.Config, listener: socket.socket) -> bool:
    """Run ``config.workers`` processes until a signal stops them; return whether one called `abort_worker`."""
    supervisor = Multiprocess(config, sockets=[listener])
    supervisor.run()
    return any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes)


def abort_worker() -> NoReturn:
    """End this worker process at once, and with it the supervisor and the other workers.

    The exit status means that a new worker would fail in the same way. An ordinary exit would take too long: until the
    process has ended, the supervisor waits for it to respond to a health check.
    """
    sys.stderr.flush()
    os._exit(STARTUP_FAILURE)
