"""Canaries of gateway/compat/throttled.py: after an upgrade, each names the borrowed behaviour that is gone."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from throttled.asyncio import Quota, RateLimiterRegistry, rate_limiter

from gateway.compat.throttled import store_over
from tests.upstream.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


async def test_a_limiter_sends_its_commands_with_the_client_it_is_given(server: RedisServer) -> None:
    """If it fails, throttled-py opens a second client, or none: rates are limited by each worker alone, or not."""
    client: Redis = Redis.from_url(server.url)
    quota: Quota = rate_limiter.per_hour(1)
    limiter = RateLimiterRegistry.get("gcra")(quota, store_over(client), key_prefix="canary")
    assert [(await limiter.limit("a")).limited for _ in range(2)] == [False, True]
    assert await client.keys("canary*") != []
    assert len(await client.client_list()) == 1
    await client.aclose()
