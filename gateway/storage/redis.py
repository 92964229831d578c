"""Redis, for several processes: one client for all its users in a worker.

Its users are the response cache, persisted documents, the login lock, the rate limits and idempotency keys. The
timeout, the retry, the pause after a failure and the counting stand here once. Each user has connections and a pause of
its own: a burst of look-ups in the cache must not switch off a rate limit. Importing redis takes a tenth of a second,
so this module is imported only where a Redis is configured.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, get_args

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gateway.storage import RedisUser
from gateway.telemetry import Counts, logger

T = TypeVar("T")

_KEY_PREFIX = "gochat-gateway:"
# After a failure Redis gets no commands for a moment, so that not every call waits for the timeout.
_PAUSE_SECONDS = 1.0
# Per user. A thousand look-ups at once take as long with 128 connections, and opening those takes longer.
_MAX_CONNECTIONS = 32
_DELETE_IF_EQUAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisConnection:
    """The Redis client of a worker. ``timeout`` is in seconds for each command; ``clock`` is monotonic, in seconds.

    If Redis is down or slow the gateway is slower, but does not fail: a command without a reply in time returns None.
    The log has a line when that begins and when it ends, and `Counts` has each failure by its user.
    """

    def __init__(self, url: str, timeout: float, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._timeout = timeout
        self._counts = counts
        self._clock = clock
        self.client = redis_asyncio.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            max_connections=_MAX_CONNECTIONS * len(get_args(RedisUser)),
            # A kept connection may be dead although Redis is well: one retry on a new connection tells them apart.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        # The client's own pool raises an error where all connections are in use. Commands wait here instead.
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_MAX_CONNECTIONS))
        self._failing = False
        # How often `_failing` has changed. Of the commands in flight when Redis fails some still succeed, and some that
        # began before it recovered fail afterwards. So an outcome counts only if nothing has changed since it began.
        self._changes = 0
        self._paused_until: dict[str, float] = {}

    def store(self, user: RedisUser) -> "RedisStore":
        """Return a store for ``user``, whose failures are counted under that name."""
        return RedisStore(self, user)

    async def run(
        self, user: RedisUser, command: Callable[[], Awaitable[T]], *, during_pause: bool = False
    ) -> T | None:
        """Return the result of ``command``; None without a reply in time, and during the pause after a failure."""
        if self._clock() < self._paused_until.get(user, 0.0) and not during_pause:
            return None
        began = self._changes
        try:
            async with asyncio.timeout(self._timeout), self._slots[user]:
                reply = await command()
        except (RedisError, OSError, TimeoutError, ValueError) as exc:  # ValueError: the server does not speak Redis
            self._failed(user, exc, began)
            return None
        self._succeeded(began)
        return reply

    def _failed(self, user: str, exc: Exception, began: int) -> None:
        self._counts[f"redis_failures: {user}"] += 1
        if not self._failing and began == self._changes:
            self._change(failing=True)
            logger.warning("Redis does not respond (%s): the gateway continues without it", type(exc).__name__)
        if self._failing:
            self._paused_until[user] = self._clock() + _PAUSE_SECONDS

    def _succeeded(self, began: int) -> None:
        if self._failing and began == self._changes:
            self._change(failing=False)
            logger.warning("Redis responds again")

    def _change(self, *, failing: bool) -> None:
        self._failing = failing
        self._changes += 1

    def dedicated(self) -> redis_asyncio.Redis:
        """Return a client of its own for one user, whose commands may block. It retries nothing, and has no timeout."""
        return redis_asyncio.Redis.from_url(
            self._url, socket_timeout=None, socket_connect_timeout=self._timeout, retry=Retry(NoBackoff(), 0)
        )

    async def aclose(self) -> None:
        """Close the connections. A later command opens them again."""
        await self.client.aclose()


class RedisStore:
    """Keeps entries in Redis, shared by every gateway that uses the same one."""

    def __init__(self, connection: RedisConnection, user: RedisUser) -> None:
        self._connection = connection
        self._client = connection.client
        self._user = user

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none or Redis does not respond."""
        values: Any = await self._connection.run(
            self._user, lambda: self._client.mget([_KEY_PREFIX + key for key in keys])
        )
        return [None] * len(keys) if values is None else [_bytes(value) for value in values]

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
        """Keep ``value`` for ``lifetime`` seconds if Redis responds; ``urgent``: also during the pause."""
        milliseconds = _milliseconds(lifetime)
        reply = await self._connection.run(
            self._user, lambda: self._client.set(_KEY_PREFIX + key, value, px=milliseconds), during_pause=urgent
        )
        return reply is not None

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the current value, None if Redis does not respond."""
        # Not `SET … NX GET`, which needs Redis 7; and MGET, which returns None for a value of another type.
        pipeline = self._client.pipeline(transaction=False)
        _ = pipeline.set(_KEY_PREFIX + key, value, px=_milliseconds(lifetime), nx=True)
        _ = pipeline.mget([_KEY_PREFIX + key])
        results: Any = await self._connection.run(self._user, pipeline.execute)
        return None if results is None else _bytes(results[-1][0])

    async def delete(self, key: str, value: bytes | None = None) -> None:
        """Forget ``key`` if Redis responds; with ``value`` only where it has that one."""

        def command() -> Awaitable[Any]:
            if value is None:
                return self._client.delete(_KEY_PREFIX + key)
            return self._client.eval(_DELETE_IF_EQUAL, 1, _KEY_PREFIX + key, value)

        await self._connection.run(self._user, command, during_pause=True)

    async def aclose(self) -> None:
        """Close the worker's connections to Redis."""
        await self._connection.aclose()


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _milliseconds(lifetime: float) -> int:
    return max(1, int(lifetime * 1000))
