"""Runs the sandbox on uvicorn: its configuration, and a server in a background thread for tests."""

import socket
import threading
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

from gateway.sandbox.http.compat import ResettableProtocol, StoppableServer

STOP_TIMEOUT_SECONDS: Final = 2.0
"""The longest that `BackgroundServer.stop` takes, whatever is in flight."""


def sandbox_config(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Config:
    """Return the uvicorn configuration for a sandbox: without a log, and able to reset connections."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=ResettableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
    )


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


class BackgroundServer:
    """Runs a uvicorn configuration in its own thread, on a port of 127.0.0.1; a context manager.

    The port (0: a free one) is bound by the constructor, so `url` is known before the start. A `listener` is already
    bound. When the context ends, requests in flight may finish for `grace` seconds; then their connections are aborted.
    """

    def __init__(
        self, config: uvicorn.Config, *, port: int = 0, grace: float = 0.5, listener: socket.socket | None = None
    ) -> None:
        self._grace = grace
        self._server = StoppableServer(config)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background-server", daemon=True)
        self._socket = _bound(port) if listener is None else listener
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start, and return once connections are accepted.

        Raises `RuntimeError`: the server ended before it was ready; the cause says why.
        """
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            self._thread.join()
            raise RuntimeError("the server did not start") from self._failure
        return self

    def stop(self) -> None:
        """Stop, and return once the thread has ended.

        Raises `RuntimeError`: it has not ended after two seconds, because something blocks its event loop.
        """
        self._server.stop(force=False)
        self._thread.join(self._grace)
        if self._thread.is_alive():
            self._server.stop(force=True)
            self._thread.join(STOP_TIMEOUT_SECONDS - self._grace)
        if self._thread.is_alive():
            raise RuntimeError("the server did not stop: something blocks its event loop")

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as exc:  # noqa: BLE001 - it is raised again, in the thread that calls start()
            self._failure = exc
        finally:
            self._socket.close()
            self._server.ready.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
