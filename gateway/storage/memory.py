"""Keeps bytes in the memory of this process."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

# What an entry takes in memory beside its key and value, in bytes: some 550, measured with CPython 3.11.
_ENTRY_OVERHEAD_BYTES = 600
# The part of the store that one entry may take, with all that was made of it.
_LARGEST_PART = 8


@dataclass(slots=True, eq=False, weakref_slot=True)
class MemoryEntry:
    """A value in memory. ``expires`` is a time of the store's clock, ``size`` is in bytes."""

    value: bytes
    expires: float
    size: int
    derived: dict[Hashable, tuple[Any, int]] | None = None
    """What was made of the value, by name, and its size. It lives as long as the entry."""


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

    def derive(self, key: str, name: Hashable, derived: Any, size: int) -> None:
        """Keep ``derived`` with the entry at ``key``, as ``size`` bytes more of it, if that leaves room for others."""
        entry = self.entry(key)
        if entry is None:
            return
        if entry.derived is None:  # most entries never need a dict, which is a tenth of their overhead
            entry.derived = {}
        _, known = entry.derived.get(name, (None, 0))
        total = entry.size + size - known
        if total <= self._entries.maxsize // _LARGEST_PART:
            entry.derived[name] = derived, size
            entry.size = total
            self._entries[key] = entry  # so that the store counts the size

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
