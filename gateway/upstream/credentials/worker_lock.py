"""Turns among the workers of one program: a lock and a note in memory that they share.

The parent makes the memory and hands it to each worker, also to one that takes a dead one's place. The lock is the
kernel's (POSIX, by process), so it ends with the worker that holds it. The note says until when which account is
rejected; the account is told by a keyed hash, for after a SIGHUP a worker may have another password than the others.
"""

import asyncio
import fcntl
import hashlib
import os
import secrets
import struct
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any

from gateway.upstream.credentials.login_lock import Turn

_KEY = 32
_NOTE = struct.Struct(">d16s")  # until when, on the machine's monotonic clock, and which account
_LOOK = 0.02


class WorkersMemory:
    """A page that the workers of a program share; it can be handed to a process while that is started."""

    def __init__(self) -> None:
        self._fd = _anonymous_file()
        os.pwrite(self._fd, secrets.token_bytes(_KEY) + _NOTE.pack(0.0, bytes(16)), 0)

    def __getstate__(self) -> Any:
        """Hand on a copy of the descriptor, as multiprocessing does it."""
        return reduction.DupFd(self._fd)

    def __setstate__(self, duplicate: Any) -> None:
        """Take it."""
        self._fd = duplicate.detach()

    def hashed(self, account: str) -> bytes:
        """Return what stands for ``account`` in the note."""
        return hashlib.blake2b(account.encode(), key=os.pread(self._fd, _KEY, 0), digest_size=16).digest()

    def rejected_until(self, account: bytes) -> float:
        """Return until when the account is rejected, 0 where nobody has met that."""
        until, noted = _NOTE.unpack(os.pread(self._fd, _NOTE.size, _KEY))
        return float(until) if noted == account else 0.0

    def reject(self, account: bytes, until: float) -> None:
        """Note it."""
        os.pwrite(self._fd, _NOTE.pack(until, account), _KEY)

    def try_lock(self) -> bool:
        """Return whether this process has the lock now; processes alone exclude each other."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Let the next one in."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN)


def _anonymous_file() -> int:
    """Return a descriptor of memory; where the system has no such thing, of a file that has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gochat-gateway-logins")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@dataclass(slots=True)
class _WorkersTurn:
    memory: WorkersMemory
    account: bytes

    @property
    def rejected_for(self) -> float | None:
        remaining = self.memory.rejected_until(self.account) - time.monotonic()
        return remaining if remaining > 0 else None

    async def reject(self, seconds: float) -> None:
        self.memory.reject(self.account, time.monotonic() + seconds)


class AmongWorkers:
    """Takes turns by the workers' memory; ``account`` names the account and its password."""

    def __init__(self, memory: WorkersMemory, account: str) -> None:
        self._memory = memory
        self._account = memory.hashed(account)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for the lock; a login has a deadline, and so has whoever holds it."""
        while not self._memory.try_lock():  # noqa: ASYNC110 - another process cannot set an event of this one
            await asyncio.sleep(_LOOK)
        try:
            yield _WorkersTurn(self._memory, self._account)
        finally:
            self._memory.unlock()

    async def aclose(self) -> None:
        """Nothing is held: the memory goes with the process."""
