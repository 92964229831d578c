"""Keeps bytes in the memory of this process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

# What an entry takes in memory beside its key and value, in bytes: some 550, measured with CPython 3.11.
_ENTRY_OVERHEAD_BYTES = 600
# The part of the store that one entry may take that was made of others.
_LARGEST_PART = 8


@dataclass(slots=True, eq=False, weakref_slot=True)
class MemoryEntry:
    """A value in memory. ``expires`` is a time of the store's clock, ``size`` is in bytes."""

    value: bytes
    expires: float
    size: int
    made: Any = None
    """What was made of other entries, in place of a value."""


class MemoryStore:
    """Keeps at most ``max_bytes`` in this process; what was used longest ago goes first."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: TLRUCache[str, MemoryEntry] = TLRUCache(
            max_bytes, ttu=lambda _key, entry, _now: entry.expires, timer=clock, getsizeof=lambda entry: entry.size
        )

    def entry(self, key: str) -> MemoryEntry | None:
        """Return the entry at ``key``, None where there is none."""
        try:
            found: MemoryEntry = self._entries[key]  # `get` looks twice
        except KeyError:
            return None
        return found

    def keep(self, key: str, made: Any, size: int, expires: float) -> None:
        """Keep what was made of other entries, as ``size`` bytes, until a time, if that leaves room for others."""
        entry = MemoryEntry(b"", expires, size + len(key) + _ENTRY_OVERHEAD_BYTES, made)
        if entry.size <= self._entries.maxsize // _LARGEST_PART:
            self._entries[key] = entry

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        entries = [self.entry(key) for key in keys]
        return [None if entry is None else entry.value for entry in entries]

    async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:  # noqa: ARG002 - the protocol's
        """Keep ``value`` for ``lifetime`` seconds, unless it is larger than the whole store."""
        entry = MemoryEntry(value, self._clock() + lifetime, len(value) + len(key) + _ENTRY_OVERHEAD_BYTES)
        if entry.size > self._entries.maxsize:
            self._entries.pop(key, None)
            return False
        self._entries[key] = entry
        return True

    async def claim(self, key: str, value: bytes, lifetime: float) -> bytes | None:
        """Keep ``value`` unless there is one; return the one that is there now."""
        (present,) = await self.get([key])
        if present is not None:
            return present
        await self.set(key, value, lifetime)
        return value

    async def delete(self, key: str, value: bytes | None = None) -> None:
        """Forget ``key``; with ``value`` only where it has that one."""
        if value is None or await self.get([key]) == [value]:
            self._entries.pop(key, None)

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
