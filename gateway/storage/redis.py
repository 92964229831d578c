"""A store in Redis, for several processes. It is imported where there is one: that takes a tenth of a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gateway.telemetry import Counts, logger

_REDIS_PREFIX = "gochat-gateway:"
# After a failure Redis is left alone for a moment, so that not every call pays for the time-out.
_PAUSE_AFTER_FAILURE = 1.0
# A thousand look-ups at once take as long with 128 of them, and opening those takes longer.
_CONNECTIONS = 32


class RedisStore:
    """Keeps entries in Redis, shared by every gateway that uses the same one.

    Redis down or slow means a slower gateway, not an error: after ``timeout`` seconds a read finds nothing. That is
    logged when it begins and when it is over, and counted.
    """

    def __init__(self, url: str, timeout: float, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._counts = counts
        self._clock = clock
        self._client = redis_asyncio.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            max_connections=_CONNECTIONS,
            # A kept connection may have died unnoticed, and says nothing of Redis now: one new one tells.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        # Its pool takes one call too many for a failure of Redis, and asks nobody to wait.
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._failing = False
        # How often that has changed. Of the calls under way when Redis fails some still succeed, and some that began
        # before it recovered fail afterwards: what began before the last turn says nothing of now.
        self._turns = 0
        self._paused_until = 0.0

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none or Redis does not answer."""
        values = await self._ask(lambda: self._client.mget([_REDIS_PREFIX + key for key in keys]))
        return [None] * len(keys) if values is None else [_bytes(value) for value in values]

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
        """Keep ``value`` for ``lifetime`` seconds, if Redis answers; ``urgent``: also during the pause."""
        milliseconds = _milliseconds(lifetime)
        answer = await self._ask(
            lambda: self._client.set(_REDIS_PREFIX + key, value, px=milliseconds), during_pause=urgent
        )
        return answer is not None

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now, None where Redis does not answer."""
        # Not `SET … NX GET`, which needs Redis 7; and MGET, which takes a value of another type for none.
        pipeline = self._client.pipeline(transaction=False)
        _ = pipeline.set(_REDIS_PREFIX + key, value, px=_milliseconds(lifetime), nx=True)
        _ = pipeline.mget([_REDIS_PREFIX + key])
        results = await self._ask(pipeline.execute)
        return None if results is None else _bytes(results[-1][0])

    async def _ask(self, command: Callable[[], Awaitable[Any]], *, during_pause: bool = False) -> Any:
        """Return Redis' answer, None where there is none in time or it was found not to answer just now."""
        if self._clock() < self._paused_until and not during_pause:
            return None
        began = self._turns
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                answer = await command()
        except (RedisError, OSError, TimeoutError, ValueError) as exc:  # the last from what speaks no Redis at all
            self._failed(exc, began)
            return None
        self._worked(began)
        return answer

    def _failed(self, exc: Exception, began: int) -> None:
        self._counts["cache_store_failures"] += 1
        if not self._failing and began == self._turns:
            self._turn(failing=True)
            logger.warning("the cache's Redis does not answer (%s): the gateway goes on without", type(exc).__name__)
        if self._failing:
            self._paused_until = self._clock() + _PAUSE_AFTER_FAILURE

    def _worked(self, began: int) -> None:
        if self._failing and began == self._turns:
            self._turn(failing=False)
            logger.warning("the cache's Redis answers again")

    def _turn(self, *, failing: bool) -> None:
        self._failing = failing
        self._turns += 1

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _milliseconds(lifetime: float) -> int:
    return max(1, int(lifetime * 1000))
