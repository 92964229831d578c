"""What a connection and its pool do when time passes, by an event loop whose time the test sets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from gateway.http1 import Pool, PoolSettings, ReadTimedOut, Request
from tests.harness import ClockedLoop
from tests.http1.raw_server import RawServer, answer

Test = Callable[[ClockedLoop, Pool, RawServer], Awaitable[None]]


def run(test: Test) -> None:
    loop = ClockedLoop()

    async def with_pool() -> None:
        async with RawServer() as server:
            pool = Pool(server.url, PoolSettings(max_idle=50, read_timeout=5), clock=loop.time)
            try:
                await test(loop, pool, server)
            finally:
                await pool.aclose()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(with_pool())


async def passes(loop: ClockedLoop, seconds: float) -> None:
    loop.now += seconds
    for _ in range(5):  # turns of the event loop
        await asyncio.sleep(0)


def test_an_idle_connection_is_closed_though_no_call_comes() -> None:
    async def test(loop: ClockedLoop, pool: Pool, server: RawServer) -> None:
        server.serving()
        await pool.send(Request("GET", "/a"))
        await passes(loop, 40)
        await pool.send(Request("GET", "/a"))
        await passes(loop, 20)
        assert pool.state().idle == 1
        await passes(loop, 60)
        assert (pool.state().idle, pool.state().discarded) == (0, {"expired": 1})
        await pool.send(Request("GET", "/a"))
        await passes(loop, 60)
        assert (pool.state().idle, pool.state().discarded) == (0, {"expired": 2})

    run(test)


def test_a_response_is_waited_for_as_long_as_the_read_timeout() -> None:
    async def test(loop: ClockedLoop, pool: Pool, server: RawServer) -> None:
        call = asyncio.create_task(pool.send(Request("GET", "/a")))
        peer = await server.accept()
        await peer.request()
        await passes(loop, 4.9)
        assert not call.done()
        await passes(loop, 0.2)
        assert call.done()
        with pytest.raises(ReadTimedOut):
            await call

    run(test)


@dataclass
class SlowBody:
    """A body of which a byte comes in every third second."""

    loop: ClockedLoop
    length: int = 10

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(self.length):
            await passes(self.loop, 3)
            yield b"x"


def test_a_body_may_take_longer_than_the_read_timeout_while_it_goes_on() -> None:
    async def test(loop: ClockedLoop, pool: Pool, server: RawServer) -> None:
        call = asyncio.create_task(pool.send(Request("POST", "/a", body=SlowBody(loop))))
        peer = await server.accept()
        assert (await peer.request()).endswith(b"x" * 10)
        peer.write(answer(b"{}"))
        assert (await call).body == b"{}"

    run(test)
