"""Fixtures: a worker without a transport, and a Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.sandbox import Sandbox
from tests.live.world import World, world
from tests.upstream.redis_server import RedisServer


@pytest.fixture
async def live(upstream: str, sandbox: Sandbox) -> AsyncIterator[World]:
    async with world(upstream, sandbox) as running:
        yield running


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
