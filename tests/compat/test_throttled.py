"""Canaries of gateway/compat/throttled.py: after an upgrade, each names the borrowed behaviour that is gone."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from throttled.asyncio import Quota, RateLimiterRegistry, rate_limiter
from throttled.exceptions import BaseThrottledError

from gateway.compat.throttled import parse_quota, store_over
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


@pytest.mark.parametrize(("text", "limit", "seconds"), [("100/minute", 100, 60), ("3/hour", 3, 3600), ("5/s", 5, 1)])
def test_a_quota_is_a_number_per_unit(text: str, limit: int, seconds: int) -> None:
    """If it fails, GATEWAY_RATE_LIMIT means something else than the documentation says."""
    quota = parse_quota(text)
    assert (quota.get_limit(), quota.get_period_sec()) == (limit, seconds)


@pytest.mark.parametrize("text", ["", "abc", "1/fortnight", "1/minute; 2/hour"])
def test_any_other_text_raises_only_what_is_caught(text: str) -> None:
    """If it fails, a wrong setting ends the program with a traceback."""
    with pytest.raises((BaseThrottledError, ValueError)):
        parse_quota(text)
