"""The bus among the workers of one program: a ring of events in memory that they share.

The parent process creates the memory and passes it to each worker, as it does for logins. A worker appends an event
under a kernel lock; every worker, also that one, reads from its own place on. One that was overtaken by the writers
knows it, since places are counted from the beginning, and has then missed events.

    0        place where the next event is written, counted in bytes from the beginning of time
    8 …      for each worker its place, in a slot that it holds by a lock, which ends with the process
    …        the ring: for each event its length and its JSON

A worker looks for events every hundredth of a second: another process cannot wake its event loop. That costs an idle
worker some 2 % of a core, measured as CPU time on two shared cores: 2.2 to 2.4 %, and 0.01 % without.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gateway.events.bus import Consumer
from gateway.events.event import Event
from gateway.storage.anonymous_file import AnonymousFile

_PLACE = struct.Struct(">Q")
_LENGTH = struct.Struct(">I")
_SLOTS = 1024
_RING_BEGINS = _PLACE.size * (1 + _SLOTS)
_RING_BYTES = 4 * 1024 * 1024
# Locks are on bytes of the file: the first for the ring, the others for the slots. They need not exist.
_RING_LOCK = 1 << 40
_POLL_SECONDS = 0.01
_WAIT_SECONDS = 1.0
_FIRST_PLACE = 1  # so that a slot with 0 has never been used
_WAIT_POLL_SECONDS = 0.002


class WorkersRing:
    """The memory with the events; it can be passed to a process when that is started."""

    def __init__(self, size: int = _RING_BYTES) -> None:
        self._file = AnonymousFile(_RING_BEGINS + size)
        self._size = size
        self._set_place(0, _FIRST_PLACE)

    @property
    def end(self) -> int:
        """The place behind the last event."""
        return self._place(0)

    def append(self, content: bytes) -> int:
        """Add an event, and return the place behind it; ValueError for one that is larger than the ring."""
        record = _LENGTH.pack(len(content)) + content
        if len(record) > self._size:
            raise ValueError("an event that is larger than the ring")
        with self._locked():
            place = self.end
            for at, part in self._pieces(place, record):
                os.pwrite(self._file.fd, part, at)
            self._set_place(0, place + len(record))
            return place + len(record)

    def read(self, place: int) -> tuple[list[bytes], int] | None:
        """Return the events from ``place`` on, and the place behind them; None if some of them are overwritten."""
        with self._locked():
            end = self.end
            if end - place > self._size:
                return None
            content = b"".join(os.pread(self._file.fd, size, at) for at, size in self._spans(place, end - place))
        events = []
        while content:
            (length,) = _LENGTH.unpack_from(content)
            events.append(content[_LENGTH.size : _LENGTH.size + length])
            content = content[_LENGTH.size + length :]
        return events, end

    def claim(self) -> int:
        """Return a slot that this process holds until it ends, with its place at the end; OSError if none is free."""
        for slot in range(1, _SLOTS + 1):
            if self._try_lock(slot):
                self.moved(slot, self.end)
                return slot
        raise OSError("there are too many workers")

    def release(self, slot: int) -> None:
        """Give a slot back."""
        fcntl.lockf(self._file.fd, fcntl.LOCK_UN, 1, _RING_LOCK + slot)

    def moved(self, slot: int, place: int) -> None:
        """Say that everything before ``place`` is applied."""
        self._set_place(slot, place)

    def is_applied(self, place: int, own: int) -> bool:
        """Return whether every live worker has applied what is before ``place``; ``own`` is this one's slot."""
        for slot in range(1, _SLOTS + 1):
            reached = self._place(slot)
            if reached >= place:
                continue
            if not reached:
                break  # slots are claimed in order: this one and those behind it have never been used
            if slot == own or not self._try_lock(slot):
                return False
            self.release(slot)
        return True

    def _try_lock(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _RING_LOCK + slot)
        except OSError:
            return False
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file.fd, fcntl.LOCK_EX, 1, _RING_LOCK)  # held for microseconds
        try:
            yield
        finally:
            fcntl.lockf(self._file.fd, fcntl.LOCK_UN, 1, _RING_LOCK)

    def _place(self, slot: int) -> int:
        (place,) = _PLACE.unpack(os.pread(self._file.fd, _PLACE.size, slot * _PLACE.size))
        return int(place)

    def _set_place(self, slot: int, place: int) -> None:
        os.pwrite(self._file.fd, _PLACE.pack(place), slot * _PLACE.size)

    def _spans(self, place: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield the one or two parts of the file that hold ``size`` bytes from ``place`` on: where, and how many."""
        while size:
            at = place % self._size
            length = min(size, self._size - at)
            yield _RING_BEGINS + at, length
            place, size = place + length, size - length

    def _pieces(self, place: int, content: bytes) -> Iterator[tuple[int, bytes]]:
        taken = 0
        for at, length in self._spans(place, len(content)):
            yield at, content[taken : taken + length]
            taken += length


class WorkersBus:
    """Carries events to all workers that have the same ring."""

    def __init__(self, ring: WorkersRing) -> None:
        self._ring = ring
        self._slot = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, consumer: Consumer) -> None:
        """Carry events to ``consumer`` from now on."""
        self._slot = self._ring.claim()
        self._task = asyncio.create_task(self._read(consumer, self._ring.end), name="events")

    async def publish(self, event: Event, *, wait: bool = False) -> bool:
        """Add the event to the ring."""
        place = self._ring.append(msgspec.json.encode(event))
        if wait:
            await self._applied(place)
        return True

    async def _applied(self, place: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                while not self._ring.is_applied(place, self._slot):  # noqa: ASYNC110 - another process cannot set an event
                    await asyncio.sleep(_WAIT_POLL_SECONDS)

    async def _read(self, consumer: Consumer, place: int) -> None:
        while True:
            if place != self._ring.end:
                found = self._ring.read(place)
                if found is None:
                    place = self._ring.end
                    await consumer.resynchronise("overtaken")
                else:
                    events, place = found
                    for content in events:
                        await consumer.apply(msgspec.json.decode(content, type=Event))
                self._ring.moved(self._slot, place)
            await asyncio.sleep(_POLL_SECONDS)

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            self._ring.release(self._slot)
