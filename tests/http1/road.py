"""A pool, the server at its other end, and the calls between them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.http1 import Pool, Request, Response
from tests.http1.raw_server import PATIENCE, Peer, RawServer, answer_to


@dataclass
class Clock:
    """A time that the test sets."""

    now: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return self.now


@dataclass
class Road:
    """A pool, and the server at its other end."""

    pool: Pool
    server: RawServer
    clock: Clock

    async def get(self, target: str = "/a") -> Response:
        return await self.pool.send(Request("GET", target))

    async def kept(self, count: int = 1) -> list[Peer]:
        """Open connections with one call each, all answered; return their other ends."""
        calls = [asyncio.create_task(self.get(f"/kept/{number}")) for number in range(count)]
        peers = [await self.server.accept() for _ in calls]
        for request, peer in [(await peer.request(), peer) for peer in peers]:
            peer.write(answer_to(request))
        await asyncio.gather(*calls)
        assert self.pool.state().idle == count
        return peers

    async def begun(self, request: Request) -> tuple[asyncio.Task[Response], Peer]:
        """Send a request on a new connection, and return when the server has read it."""
        call = asyncio.create_task(self.pool.send(request))
        peer = await self.server.accept()
        await peer.request()
        return call, peer


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for is the pool's own state
            await asyncio.sleep(0)
