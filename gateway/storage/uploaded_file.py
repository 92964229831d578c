"""Files that callers send, and the room for all of them.

A file is spooled to an unnamed file on the disk, which ends with its last user, or with the process.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FILE_BYTES = 64 * 1024
"""What a file takes of the room besides its content: a descriptor is scarce as well."""


class UploadRoom:
    """Bounds the bytes of all files that a worker keeps at one moment. Without it, callers can fill the disk."""

    def __init__(self, limit: float = inf) -> None:
        self._limit = limit
        self.kept = 0
        """In bytes, with `FILE_BYTES` for each file."""
        self.refused = 0
        """How many files found no room."""

    def take(self, size: int) -> bool:
        """Take room for so many bytes; return whether there was any."""
        fits = self.kept + size <= self._limit
        if fits:
            self.kept += size
        else:
            self.refused += 1
        return fits

    def give_back(self, size: int) -> None:
        """Give room back that was taken."""
        self.kept -= size


class UploadedFile:
    """A file in ``directory``, that of the system for None. ``name`` is the caller's: no path is made of it.

    It is closed when each `hold` and the creation have had their `release`, and gives the bytes that were taken for it
    back to ``room``. The disk is read and written in threads. Every method raises OSError where the disk fails.
    """

    def __init__(self, directory: Path | None, name: str, room: UploadRoom) -> None:
        self.name = name
        self._room = room
        self._taken = 0
        self.size = 0
        """In bytes."""
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - its users close it
        self._hash = hashlib.sha256()
        self._users = 1

    def __repr__(self) -> str:
        """Return the text for errors and debuggers, which shows no content."""
        return "an uploaded file"

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, in hexadecimal digits."""
        return self._hash.hexdigest()

    def take(self, size: int) -> bool:
        """Take room for so many bytes of this file; return whether there was any."""
        fits = self._room.take(size)
        if fits:
            self._taken += size
        return fits

    async def append(self, data: bytes) -> None:
        """Write more of the content."""
        self.size += len(data)
        await self._in_thread(lambda: self._write(data))

    async def read(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes of the content."""
        return await self._in_thread(lambda: os.pread(self._file.fileno(), size, offset))

    def hold(self) -> None:
        """Keep the file until `release` is called once more."""
        self._users += 1

    def release(self) -> None:
        """Give the file up; its last user ends it."""
        self._users -= 1
        if not self._users:
            self._file.close()
            self._room.give_back(self._taken)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run ``work``, which holds the file to its end: a cancelled caller must not close what a thread still uses."""
        self.hold()
        running = asyncio.get_running_loop().run_in_executor(None, work)
        running.add_done_callback(self._ran)
        return await asyncio.shield(running)

    def _ran(self, running: "asyncio.Future[T]") -> None:
        if not running.cancelled():
            running.exception()  # retrieved here, too: the caller may be gone
        self.release()
