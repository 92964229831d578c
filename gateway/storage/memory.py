"""Keeps bytes in the memory of this process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import TLRUCache

# What an entry takes in memory beside its key and value, in bytes: some 550, measured with CPython 3.11.
_ENTRY_OVERHEAD_BYTES = 600


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
        kept = _Kept(value, lifetime, len(value) + len(key) + _ENTRY_OVERHEAD_BYTES)
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

    async def delete(self, key: str) -> None:
        """Forget ``key``."""
        self._entries.pop(key, None)

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
