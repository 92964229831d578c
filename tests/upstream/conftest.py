"""The stores of the response cache, with both of which most tests run."""

from collections.abc import Iterator

import pytest

from tests.harness import Clock
from tests.upstream.redis_server import RedisServer


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def server(_shared_server: RedisServer) -> RedisServer:
    """An empty Redis that all tests share; a test that stops Redis starts its own."""
    _shared_server.flush()
    return _shared_server


@pytest.fixture(params=["memory", "redis"])
def redis(request: pytest.FixtureRequest) -> RedisServer | None:
    """The Redis that stores the entries, or None for memory."""
    return None if request.param == "memory" else request.getfixturevalue("server")


@pytest.fixture
def clock() -> Clock:
    return Clock()
