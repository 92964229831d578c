"""Where the response cache keeps its entries: most of what it promises holds for both stores."""

from collections.abc import Iterator

import pytest

from tests.harness import Clock
from tests.upstream.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """An empty Redis."""
    with RedisServer() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def redis(request: pytest.FixtureRequest) -> RedisServer | None:
    """The Redis to keep entries in, or None: in memory."""
    return None if request.param == "memory" else request.getfixturevalue("server")


@pytest.fixture
def clock() -> Clock:
    return Clock()
