"""Serves metrics on a port of their own, away from callers: prometheus_client's application in a thread of its own.

A thread answers also while the event loop is blocked, which is when somebody wants to know.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app
from prometheus_client.registry import CollectorRegistry

_POLL = 0.1  # seconds after which it notices that it has to stop
_PATIENCE = 10.0  # seconds that a client may take for its request


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
        """A scrape every few seconds is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()[:2]
        self.setup_environ()
        self.server_activate()


@contextlib.contextmanager
def exposed(listener: socket.socket, registry: CollectorRegistry) -> Iterator[None]:
    """Answer scrapes on ``listener``, which is bound, with what is in ``registry``."""
    with _Server(listener) as server:
        server.set_app(make_wsgi_app(registry))
        thread = threading.Thread(target=server.serve_forever, args=(_POLL,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
