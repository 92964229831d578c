"""The login lock among the workers of one program: a kernel lock and a failed login, in memory that they share.

The parent process creates the memory and passes it to each worker, also to one that replaces a dead worker. The lock is
a POSIX record lock, so it is released when its process dies. The record of the failed login says which account failed,
how, and until when that counts. The account is stored as a keyed hash: after a SIGHUP, workers with an old and a new
password run side by side.
"""

import asyncio
import fcntl
import hashlib
import os
import secrets
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.storage.anonymous_file import AnonymousFile
from gateway.upstream.credentials.failed_login import FailedLogin
from gateway.upstream.credentials.login_lock import LoginAttempt

_KEY_BYTES = 32
# Until when, on the machine's monotonic clock; which account; the status (0: no response); failures in a row.
_RECORD = struct.Struct(">d16sHH")
_MAX_COUNT = 0xFFFF
_POLL_INTERVAL_SECONDS = 0.02


class WorkersMemory:
    """Memory that the workers of a program share; it can be passed to a process when that is started."""

    def __init__(self) -> None:
        self._file = AnonymousFile(_KEY_BYTES + _RECORD.size)
        os.pwrite(self._file.fd, secrets.token_bytes(_KEY_BYTES) + _RECORD.pack(0.0, bytes(16), 0, 0), 0)

    def hashed(self, account: str) -> bytes:
        """Return the hash of ``account`` that the record holds."""
        return hashlib.blake2b(account.encode(), key=os.pread(self._file.fd, _KEY_BYTES, 0), digest_size=16).digest()

    def failed_login(self, account: bytes) -> FailedLogin | None:
        """Return the account's last login if it failed, also if that no longer counts."""
        until, failed, status, in_a_row = _RECORD.unpack(os.pread(self._file.fd, _RECORD.size, _KEY_BYTES))
        if failed != account or not in_a_row:
            return None
        return FailedLogin(until - time.monotonic(), status or None, in_a_row)

    def counting_failure(self, account: bytes) -> FailedLogin | None:
        """Return the account's last login if it failed and that still counts."""
        last = self.failed_login(account)
        return None if last is None or last.seconds <= 0 else last

    def save(self, account: bytes, failed: FailedLogin | None) -> None:
        """Store how the account's last login failed; None: it succeeded."""
        failed = failed or FailedLogin(0.0, None, 0)
        until = time.monotonic() + failed.seconds
        record = _RECORD.pack(until, account, failed.status or 0, min(failed.in_a_row, _MAX_COUNT))
        os.pwrite(self._file.fd, record, _KEY_BYTES)

    def try_lock(self) -> bool:
        """Return whether this process has the lock now; it excludes other processes only."""
        try:
            fcntl.lockf(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Release the lock."""
        fcntl.lockf(self._file.fd, fcntl.LOCK_UN)


@dataclass(slots=True)
class _WorkerAttempt:
    memory: WorkersMemory
    account: bytes

    @property
    def failed(self) -> FailedLogin | None:
        return self.memory.counting_failure(self.account)

    @property
    def failures(self) -> int:
        last = self.memory.failed_login(self.account)
        return 0 if last is None else last.in_a_row

    async def fail(self, failed: FailedLogin) -> None:
        self.memory.save(self.account, failed)

    async def succeed(self) -> None:
        if self.failures:
            self.memory.save(self.account, None)


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

    async def failed(self) -> FailedLogin | None:
        """Look into the memory."""
        return self._memory.counting_failure(self._account)

    async def tell(self, failed: FailedLogin) -> None:
        """Write it into the memory."""
        self._memory.save(self._account, failed)

    async def aclose(self) -> None:
        """Do nothing: the memory ends with the process."""
