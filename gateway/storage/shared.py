"""What the parts of one worker share: counters, clocks, and the connection to Redis where there is one."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from gateway.clock import REAL_TIME, Timing
from gateway.settings import CacheSettings
from gateway.storage import RedisUser
from gateway.telemetry import Counts

T = TypeVar("T")


class Store(Protocol):
    """Keeps bytes by key for a while. It may forget at any time, and never fails."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
        """Keep ``value`` for ``lifetime`` seconds; return whether it was kept.

        ``urgent``: try even during the pause after a failure.
        """

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now, None where that is unknown."""

    async def delete(self, key: str, value: bytes | None = None) -> None:
        """Forget ``key``, if the store responds; with ``value`` only where it has that one."""

    async def aclose(self) -> None:
        """Close the connections."""


class Redis(Protocol):
    """The connection of a worker to the Redis that workers and gateways share; see `gateway.storage.redis`."""

    client: Any
    """The client of redis-py, for a library that sends its own commands."""

    def dedicated(self) -> Any:
        """Return a client of redis-py of its own for one user, whose commands may block."""

    def store(self, user: RedisUser) -> Store:
        """Return a store whose failures are counted for ``user``."""

    async def run(
        self, user: RedisUser, command: Callable[[], Awaitable[T]], *, during_pause: bool = False
    ) -> T | None:
        """Return the result of a command; None if Redis does not respond in time."""

    async def aclose(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the parts of one worker share. ``redis`` is None where none is configured."""

    counts: Counts = field(default_factory=Counts)
    timing: Timing = REAL_TIME
    redis: Redis | None = None

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        if self.redis is not None:
            await self.redis.aclose()

    def store(self, user: RedisUser) -> Store | None:
        """Return the store in Redis for ``user``, None where there is no Redis."""
        return None if self.redis is None else self.redis.store(user)


def shared_by(cache: CacheSettings, timing: Timing = REAL_TIME, counts: Counts | None = None) -> Shared:
    """Return what a worker's parts share; nothing connects before its first use."""
    counts = Counts() if counts is None else counts
    return Shared(counts, timing, _redis(cache, counts, timing.clock))


def _redis(cache: CacheSettings, counts: Counts, clock: Callable[[], float] = time.monotonic) -> Redis | None:
    if cache.redis_url is None:
        return None
    from gateway.storage.redis import RedisConnection  # noqa: PLC0415 - importing redis takes a tenth of a second

    return RedisConnection(cache.redis_url, cache.timeout, counts, clock)
