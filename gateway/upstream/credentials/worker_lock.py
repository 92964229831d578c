"""The login lock among the workers of one program: a kernel lock and a rejection, in memory that they share.

The parent process creates the memory and passes it to each worker, also to one that replaces a dead worker. The lock is
a POSIX record lock, so it is released when its process dies. The rejection says which account is rejected, and until
when. The account is stored as a keyed hash: after a SIGHUP, workers with an old and a new password run side by side.
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

from gateway.upstream.credentials.login_lock import LoginAttempt

_KEY_BYTES = 32
_REJECTION = struct.Struct(">d16s")  # until when, on the machine's monotonic clock, and which account
_POLL_INTERVAL_SECONDS = 0.02


class WorkersMemory:
    """Memory that the workers of a program share; it can be passed to a process when that is started."""

    def __init__(self) -> None:
        self._fd = _anonymous_file()
        os.pwrite(self._fd, secrets.token_bytes(_KEY_BYTES) + _REJECTION.pack(0.0, bytes(16)), 0)

    def __getstate__(self) -> Any:
        """Pickle a duplicate of the descriptor, as multiprocessing does."""
        return reduction.DupFd(self._fd)

    def __setstate__(self, duplicate: Any) -> None:
        """Unpickle it."""
        self._fd = duplicate.detach()

    def hashed(self, account: str) -> bytes:
        """Return the hash of ``account`` that the rejection holds."""
        return hashlib.blake2b(account.encode(), key=os.pread(self._fd, _KEY_BYTES, 0), digest_size=16).digest()

    def rejected_until(self, account: bytes) -> float:
        """Return until when the account is rejected, 0 where no worker was rejected."""
        until, rejected = _REJECTION.unpack(os.pread(self._fd, _REJECTION.size, _KEY_BYTES))
        return float(until) if rejected == account else 0.0

    def reject(self, account: bytes, until: float) -> None:
        """Store that the account is rejected until then."""
        os.pwrite(self._fd, _REJECTION.pack(until, account), _KEY_BYTES)

    def try_lock(self) -> bool:
        """Return whether this process has the lock now; it excludes other processes only."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Release the lock."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN)


def _anonymous_file() -> int:
    """Return the descriptor of anonymous memory, or of an unnamed file where the system has no such memory."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gochat-gateway-logins")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@dataclass(slots=True)
class _WorkerAttempt:
    memory: WorkersMemory
    account: bytes

    @property
    def rejected_for(self) -> float | None:
        remaining = self.memory.rejected_until(self.account) - time.monotonic()
        return remaining if remaining > 0 else None

    async def reject(self, seconds: float) -> None:
        self.memory.reject(self.account, time.monotonic() + seconds)


class WorkerLoginLock:
    """A lock in the workers' memory; ``account`` names the account and its password."""

    def __init__(self, memory: WorkersMemory, account: str) -> None:
        self._memory = memory
        self._account = memory.hashed(account)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[LoginAttempt]:
        """Wait for the lock; every login has a deadline, so every holder releases it."""
        while not self._memory.try_lock():  # noqa: ASYNC110 - another process cannot set an event of this one
            await asyncio.sleep(_POLL_INTERVAL_SECONDS)
        try:
            yield _WorkerAttempt(self._memory, self._account)
        finally:
            self._memory.unlock()

    async def aclose(self) -> None:
        """Do nothing: the memory ends with the process."""
