"""The login lock: one login at a time among all processes that use the same account, and one failure for all.

The REST API locks an account after too many wrong logins. A process remembers a failed login on its own, but with a
wrong password eight workers would still make eight wrong logins. So a process acquires the lock before it logs in, and
learns whether another process has just failed:

    worker ──▶ lock among the workers of this program (worker_lock.py) ──▶ lock among all gateways (Redis) ──▶ log in

The lock is needed only to log in, not to use a token or accepted Basic credentials. But a process whose accepted Basic
credentials get a 401 tells the others, who look for that before they use theirs: in the workers' memory each time, in
Redis once a second. If Redis does not answer, a gateway logs in without that lock.
"""

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Timing
from gateway.storage.shared import Store
from gateway.upstream.credentials.failed_login import FailedLogin

_POLL_INTERVAL_SECONDS = 0.05
_LOOK_INTERVAL_SECONDS = 1.0
_FAILED = b"failed"
# How long the number of failures in a row is kept after a pause: as a rule the next login comes soon after it.
_COUNT_LIFETIME_SECONDS = 60.0


class LoginAttempt(Protocol):
    """The right to log in, which only one process has at a time."""

    @property
    def failed(self) -> FailedLogin | None:
        """The failed login of another process that still counts; None without one."""

    @property
    def failures(self) -> int:
        """How many logins of all processes have failed in a row before this one."""

    async def fail(self, failed: FailedLogin) -> None:
        """Tell the other processes that this login failed."""

    async def succeed(self) -> None:
        """Tell the other processes that this login succeeded."""


class LoginLock(Protocol):
    """A lock that all processes with the same account share."""

    def attempt(self) -> AbstractAsyncContextManager[LoginAttempt]:
        """Acquire the lock; the caller logs in unless the attempt holds a failed login."""

    async def failed(self) -> FailedLogin | None:
        """Return a login that failed in any process and still counts, without acquiring the lock."""

    async def tell(self, failed: FailedLogin) -> None:
        """Tell the other processes that credentials failed which had been accepted."""

    async def aclose(self) -> None:
        """Close connections."""


@dataclass(slots=True)
class _NestedAttempt:
    attempts: Sequence[LoginAttempt] = ()

    @property
    def failed(self) -> FailedLogin | None:
        failed = [each.failed for each in self.attempts if each.failed is not None]
        return max(failed, key=lambda each: each.seconds, default=None)

    @property
    def failures(self) -> int:
        return max((each.failures for each in self.attempts), default=0)

    async def fail(self, failed: FailedLogin) -> None:
        for each in self.attempts:
            await each.fail(failed)

    async def succeed(self) -> None:
        for each in self.attempts:
            await each.succeed()


class NestedLoginLock:
    """Acquires several locks, one inside the other. Without any, every attempt is allowed at once."""

    def __init__(self, locks: Sequence[LoginLock] = ()) -> None:
        self._locks = locks

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[LoginAttempt]:
        """Acquire the locks in the same order in every process, so that there is no deadlock."""
        async with AsyncExitStack() as stack:
            attempts: list[LoginAttempt] = []
            for lock in self._locks:
                attempt = await stack.enter_async_context(lock.attempt())
                attempts.append(attempt)
                if attempt.failed is not None:
                    break
            yield _NestedAttempt(attempts)

    async def failed(self) -> FailedLogin | None:
        """Return what the first lock knows that knows any."""
        for lock in self._locks:
            failed = await lock.failed()
            if failed is not None:
                return failed
        return None

    async def tell(self, failed: FailedLogin) -> None:
        """Tell all who share any of the locks."""
        for lock in self._locks:
            await lock.tell(failed)

    async def aclose(self) -> None:
        """Close the connections of every lock."""
        for lock in self._locks:
            await lock.aclose()


@dataclass(slots=True)
class _GatewayAttempt:
    failed: FailedLogin | None
    failures: int
    result: FailedLogin | None = None
    succeeded: bool = False

    async def fail(self, failed: FailedLogin) -> None:
        self.result = failed

    async def succeed(self) -> None:
        self.succeeded = True


class GatewayLoginLock:
    """A lock by an entry of the store that gateways share; ``account`` names the account and its password.

    ``timeout`` is the longest that a login may take, in seconds: the entry of a gateway that died expires after it.
    """

    def __init__(self, store: Store, account: str, timeout: float, timing: Timing) -> None:
        self._store = store
        self._key = f"login:{account}"
        self._count_key = f"login-failures:{account}"
        self._timeout = timeout
        self._timing = timing
        self._look_at = -math.inf
        self._told: FailedLogin | None = None
        """What was in the store at the last look."""

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[LoginAttempt]:
        """Claim the entry, or read from it that another gateway's login failed."""
        mine = b"tried by " + secrets.token_bytes(16)
        failed = await self._claim(mine)
        attempt = _GatewayAttempt(failed, 0 if failed else await self._count())
        try:
            yield attempt
        finally:
            if attempt.result is not None:
                await self._save(attempt.result)
            elif failed is None:
                await self._store.set(self._key, b"", 0.001)
                if attempt.succeeded and attempt.failures:
                    await self._store.set(self._count_key, b"", 0.001)

    async def failed(self) -> FailedLogin | None:
        """Look into the store, at most once a second."""
        now = self._timing.clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_INTERVAL_SECONDS
            (found,) = await self._store.get([self._key])
            self._told = self._parse(found)
        return self._told

    async def tell(self, failed: FailedLogin) -> None:
        """Write it into the store."""
        await self._save(failed)

    async def _save(self, failed: FailedLogin) -> None:
        until = self._timing.now() + failed.seconds
        entry = f"{_FAILED.decode()} {until} {failed.status or 0} {failed.in_a_row}".encode()
        await self._store.set(self._key, entry, failed.seconds, urgent=True)
        if not failed.rejected:  # the pause after a rejection does not grow
            lifetime = failed.seconds + _COUNT_LIFETIME_SECONDS
            await self._store.set(self._count_key, str(failed.in_a_row).encode(), lifetime)

    async def _count(self) -> int:
        (count,) = await self._store.get([self._count_key])
        return int(count) if count and count.isdigit() else 0

    async def _claim(self, mine: bytes) -> FailedLogin | None:
        give_up = self._timing.clock() + self._timeout
        while True:
            found = await self._store.claim(self._key, mine, self._timeout)
            failed = self._parse(found)
            if failed is not None:
                return failed
            # None: Redis does not answer. After the timeout, the gateway that holds the entry has died.
            if found in {None, mine} or self._timing.clock() >= give_up:
                return None
            await asyncio.sleep(_POLL_INTERVAL_SECONDS)

    def _parse(self, found: bytes | None) -> FailedLogin | None:
        match (found or b"").split():
            case [kind, until, status, in_a_row] if kind == _FAILED:
                remaining = max(0.0, float(until) - self._timing.now())
                return FailedLogin(remaining, int(status) or None, int(in_a_row))
        return None

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()
