"""A file that a caller sends. It is spooled to an unnamed file, which ends with its last user, or with the process."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class UploadedFile:
    """A file in ``directory``, that of the system for None. ``name`` is the caller's: no path is made of it.

    It is closed when each `hold` and the creation have had their `release`. The disk is read and written in threads.
    Every method raises OSError where the disk fails.
    """

    def __init__(self, directory: Path | None, name: str) -> None:
        self.name = name
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
