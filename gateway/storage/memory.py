"""Where the response cache, and whoever else, keeps bytes: in this process, or in `gateway.storage.redis`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachetools import TLRUCache

from gateway.settings import CacheSettings
from gateway.telemetry import Counts

# What an entry takes in memory beside its key and value, in bytes: some 550, measured with CPython 3.11.
_OVERHEAD = 600


class Store(Protocol):
    """Keeps bytes by key for a while. It may forget at any time, and never fails."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
        """Keep ``value`` for ``lifetime`` seconds; return whether it was. ``urgent``: try where that seems in vain."""

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now, None where that is unknown."""

    async def aclose(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes
    lifetime: float
    size: int


class MemoryStore:
    """Keeps at most ``max_bytes`` in this process; what was used longest ago goes first."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TLRUCache[str, _Kept] = TLRUCache(
            max_bytes, ttu=lambda _key, kept, now: now + kept.lifetime, timer=clock, getsizeof=lambda kept: kept.size
        )

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        entries = [self._entries.get(key) for key in keys]
        return [None if entry is None else entry.value for entry in entries]

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:  # noqa: ARG002 - the protocol's
        """Keep ``value`` for ``lifetime`` seconds, unless it is larger than the whole store."""
        kept = _Kept(value, lifetime, len(value) + len(key) + _OVERHEAD)
        if kept.size > self._entries.maxsize:
            self._entries.pop(key, None)
            return False
        self._entries[key] = kept
        return True

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now."""
        (present,) = await self.get([key])
        if present is not None:
            return present
        await self.set(key, value, lifetime)
        return value

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()


def shared_store(settings: CacheSettings, counts: Counts, clock: Callable[[], float]) -> Store | None:
    """Return the store that all processes share, None where there is no Redis."""
    if settings.redis_url is None:
        return None
    from gateway.storage.redis import RedisStore  # noqa: PLC0415 - importing redis takes a tenth of a second

    return RedisStore(settings.redis_url, settings.timeout, counts, clock)
