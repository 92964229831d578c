"""Limits of how often: GCRA, a bucket that fills evenly, in memory or in Redis.

`throttled-py` does it with one step in either, whatever number of names there is: 4 us in memory. (`limits`, which is
better known, goes through all names at each step: 480 us with 5,000 of them.) To import it takes a fifth of a second,
so this module is imported where there is a limit.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from throttled.asyncio import (
    BaseRateLimiter,
    MemoryStore,
    Quota,
    RateLimiterRegistry,
    RateLimitResult,
    RedisStore,
)
from throttled.exceptions import BaseThrottledError
from throttled.rate_limiter.quota_parser import parse

from gateway.auth.rate_limits import Rate, Standing
from gateway.errors import ConfigurationError
from gateway.settings import PREFIX, CacheSettings
from gateway.telemetry import Counts, logger

_MOST_NAMES = 50_000
_CONNECTIONS = 32
_PAUSE_AFTER_FAILURE = 1.0
# The library wraps some errors of Redis; ValueError comes from what speaks no Redis at all.
_UNAVAILABLE = (RedisError, BaseThrottledError, OSError, TimeoutError, ValueError)
_REDIS_PREFIX = "gochat-gateway:rate"


class MemoryRate:
    """A limit of this process alone. Of very many names, those seen longest ago are forgotten."""

    def __init__(self, quota: Quota) -> None:
        self.limit, self.window = quota.get_limit(), quota.get_period_sec()
        self._limiter = _limiter(quota, MemoryStore(options={"MAX_SIZE": _MOST_NAMES}))

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Take ``cost``, or all there ever is where that is less."""
        return _standing(await self._limiter.limit(name, min(cost, self.limit)))

    async def aclose(self) -> None:
        """Do nothing."""


class RedisRate:
    """A limit of all gateways that use a Redis. While that does not answer there is none: it fails open.

    ``timeout`` is in seconds; after a failure Redis is left alone for a moment, so that not every call waits for it.
    """

    def __init__(
        self, quota: Quota, url: str, timeout: float, counts: Counts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self.window = quota.get_limit(), quota.get_period_sec()
        self._timeout = timeout
        self._counts = counts
        self._clock = clock
        self._paused_until = clock()
        # A kept connection may have died unnoticed, and says nothing of Redis now: one new one tells.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        pool = {
            "max_connections": _CONNECTIONS,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": retry,
        }
        self._store = RedisStore(url, {"CONNECTION_POOL_KWARGS": pool})
        self._limiter = _limiter(quota, self._store)
        # The pool takes one call too many for a failure of Redis, and asks nobody to wait.
        self._slots = asyncio.Semaphore(_CONNECTIONS)

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Take ``cost``, or all there ever is where that is less; None where Redis does not answer in time."""
        if self._clock() < self._paused_until:
            return None
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                return _standing(await self._limiter.limit(name, min(cost, self.limit)))
        except _UNAVAILABLE as exc:
            self._counts["rate_limit_store_failures"] += 1
            self._paused_until = self._clock() + _PAUSE_AFTER_FAILURE
            logger.warning("Redis does not answer (%s): rates are not limited meanwhile", type(exc).__name__)
            return None

    async def aclose(self) -> None:
        """Close the connections."""
        client: Any = self._store._backend.get_client()  # noqa: SLF001 - the library has no other way to close them
        await client.aclose()
        await client.connection_pool.aclose()


def build_rate(setting: str, text: str, settings: CacheSettings, counts: Counts, clock: Callable[[], float]) -> Rate:
    """Return the limit that ``setting`` asks for with ``text``: in the cache's Redis if there is one, or in memory."""
    quota = _quota(setting, text)
    if settings.redis_url is not None:
        return RedisRate(quota, settings.redis_url, settings.timeout, counts, clock)
    return MemoryRate(quota)


def _quota(setting: str, text: str) -> Quota:
    try:
        (quota,) = parse(text)
    except (BaseThrottledError, ValueError) as exc:
        problem = f"{PREFIX}{setting.upper()}: must be a number per second, minute, hour or day, such as `100/minute`."
        raise ConfigurationError([problem]) from exc
    return quota


def _limiter(quota: Quota, store: MemoryStore | RedisStore) -> BaseRateLimiter:
    limiter: BaseRateLimiter = RateLimiterRegistry.get("gcra")(quota, store, key_prefix=_REDIS_PREFIX)
    return limiter


def _standing(result: RateLimitResult) -> Standing:
    state = result.state
    return Standing(not result.limited, state.limit, state.remaining, state.reset_after, state.retry_after)
