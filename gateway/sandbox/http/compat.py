"""Every use that the sandbox makes of undocumented methods and attributes of uvicorn.

They are the hook at the beginning of a request and the steps of a server's life, because uvicorn documents neither
access to its transports nor a stop without delay. On its own, and not in `gateway.compat`, because the sandbox imports
nothing of the gateway. The canary is in `tests/compat/test_uvicorn.py`.
"""

import asyncio
import contextlib
import socket
import threading

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.sandbox.http.exchange import TRANSPORT


class ResettableProtocol(HttpToolsProtocol):
    """Passes the connection's transport to the app, as the ASGI extension `gateway.transport`."""

    def on_message_begin(self) -> None:
        """Add the extension to the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class StoppableServer(uvicorn.Server):
    """A uvicorn server with an event that is set when it is ready, and that stops without a delay.

    uvicorn checks every 100 ms whether to stop and then pauses for 100 ms more: too long for a server per test.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, and set `ready`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Do what uvicorn does each second, until the server is to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, and wait for the requests in flight or for a forced stop."""
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
        """Stop, from any thread: after the requests in flight, or at once by aborting them."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped already
                self._loop.call_soon_threadsafe(self._abort if force else self._stopping.set)

    def _abort(self) -> None:
        self._forced.set()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
