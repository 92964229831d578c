"""Both event loops, plain sockets and TLS, and a pool to try on them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop

from gateway.http1 import Pool, PoolSettings
from tests.http1.raw_server import Authority, RawServer, stalled_port
from tests.http1.road import Clock, Road


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def stalled() -> Iterator[int]:
    """Give a port whose server never takes a connection."""
    with stalled_port() as port:
        yield port


NewRoad = Callable[..., Awaitable[Road]]


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, authority: Authority) -> Authority | None:
    return authority if request.param == "tls" else None


async def _new_roads(stack: AsyncExitStack, tls: Authority | None) -> NewRoad:
    async def new_road(**settings: Any) -> Road:
        server = await stack.enter_async_context(RawServer(tls.server if tls else None))
        clock = Clock()
        pool = Pool(server.url, PoolSettings(**settings), tls=tls.client if tls else None, clock=clock)
        stack.push_async_callback(pool.aclose)
        return Road(pool, server, clock)

    return new_road


@pytest.fixture
async def new_road(tls: Authority | None) -> AsyncIterator[NewRoad]:
    """Build a pool and its server, on plain sockets and on TLS."""
    async with AsyncExitStack() as stack:
        yield await _new_roads(stack, tls)


@pytest.fixture
async def road(new_road: NewRoad) -> Road:
    return await new_road()


@pytest.fixture
async def new_plain_road() -> AsyncIterator[NewRoad]:
    """Build a pool and its server, on plain sockets: for what TLS has no part in."""
    async with AsyncExitStack() as stack:
        yield await _new_roads(stack, None)


@pytest.fixture
async def plain_road(new_plain_road: NewRoad) -> Road:
    return await new_plain_road()
