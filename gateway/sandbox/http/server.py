"""What the sandbox needs of a server: connections it can reset, and a life in the background of a test."""

import asyncio
import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.sandbox.http.exchange import TRANSPORT

STOP_TIMEOUT: Final = 2.0
"""Seconds within which `BackgroundServer.stop` is done, whatever is in flight."""


class ResettableProtocol(HttpToolsProtocol):
    """Hands the app the connection's transport, as the ASGI extension `gateway.transport`."""

    def on_message_begin(self) -> None:
        """Add the extension to the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


def sandbox_config(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Config:
    """Return the uvicorn configuration to serve a sandbox with: quiet, and able to drop connections."""
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


class _Server(uvicorn.Server):
    """A uvicorn server that says when it is ready, and that stops at once when told.

    uvicorn polls for its end every 100 ms and then pauses for 100 ms more: too long for a server per test.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in [*self.servers, *(sockets or ())]:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        endings = [asyncio.ensure_future(self._drain()), asyncio.ensure_future(self._forced.wait())]
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        for ending in endings:
            ending.cancel()
        await self.lifespan.shutdown()

    async def _drain(self) -> None:
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        for server in self.servers:
            await server.wait_closed()

    def stop(self, *, force: bool) -> None:
        """Stop, from any thread: after the requests in flight, or by force at once."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped by itself
                self._loop.call_soon_threadsafe(self._abort if force else self._stopping.set)

    def _abort(self) -> None:
        self._forced.set()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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
    """Runs a uvicorn configuration in a thread of its own, on a port of 127.0.0.1; a context manager.

    The port is bound at once (0: a free one), so `url` is known before the start; a `listener` is bound already.
    Leaving the context lets the requests in flight finish for `grace` seconds, and then aborts their connections.
    """

    def __init__(
        self, config: uvicorn.Config, *, port: int = 0, grace: float = 0.5, listener: socket.socket | None = None
    ) -> None:
        self._grace = grace
        self._server = _Server(config)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background-server", daemon=True)
        self._socket = _bound(port) if listener is None else listener
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
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

        Raises `RuntimeError`: it has not within two seconds, because something blocks its event loop.
        """
        self._server.stop(force=False)
        self._thread.join(self._grace)
        if self._thread.is_alive():
            self._server.stop(force=True)
            self._thread.join(STOP_TIMEOUT - self._grace)
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
