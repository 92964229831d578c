"""Rate limits by GCRA (generic cell rate algorithm), in memory or in Redis.

The library is throttled-py: one step costs 4 us in memory, whatever the number of names. (`limits`, which is better
known, walks over all names at each step: 480 us with 5,000 of them.) Importing it takes a fifth of a second, so this
module is imported only where a rate is limited.
"""

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

from gateway.auth.rate_limits import Rate, Standing
from gateway.compat.throttled import parse_quota, store_over
from gateway.errors import ConfigurationError
from gateway.settings import PREFIX
from gateway.storage.shared import Redis, Shared

_MAX_NAMES = 50_000
_REDIS_PREFIX = "gochat-gateway:rate"


class MemoryRate:
    """A limit of this process alone. Above a maximum of names, the least recently used are dropped."""

    def __init__(self, quota: Quota) -> None:
        self.limit, self.window = quota.get_limit(), quota.get_period_sec()
        self._limiter = _limiter(quota, MemoryStore(options={"MAX_SIZE": _MAX_NAMES}))

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Count ``cost``, at most the whole limit."""
        return _standing(await self._limiter.limit(name, min(cost, self.limit)))

    async def aclose(self) -> None:
        """Do nothing."""


class RedisRate:
    """A limit shared by all gateways that use the same Redis. If Redis does not respond, nothing is limited."""

    def __init__(self, quota: Quota, redis: Redis) -> None:
        self.limit, self.window = quota.get_limit(), quota.get_period_sec()
        self._redis = redis
        self._limiter = _limiter(quota, store_over(redis.client))

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Count ``cost``, at most the whole limit; None if Redis does not respond in time."""
        return await self._redis.run("rate", lambda: self._take(name, min(cost, self.limit)))

    async def _take(self, name: str, cost: int) -> Standing:
        try:
            return _standing(await self._limiter.limit(name, cost))
        except BaseThrottledError as exc:  # the library wraps some errors of Redis
            raise RedisError from exc

    async def aclose(self) -> None:
        """Close the worker's connections to Redis."""
        await self._redis.aclose()


def build_rate(setting: str, text: str, shared: Shared) -> Rate:
    """Return the limit ``text`` of ``setting``: in the cache's Redis if there is one, else in memory."""
    quota = _quota(setting, text)
    return MemoryRate(quota) if shared.redis is None else RedisRate(quota, shared.redis)


def _quota(setting: str, text: str) -> Quota:
    try:
        quota = parse_quota(text)
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
