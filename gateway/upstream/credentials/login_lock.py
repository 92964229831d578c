"""The login lock: one login at a time among all processes that use the same account, and one rejection for all.

The REST API locks an account after too many wrong logins. A process remembers a rejection on its own, but with a wrong
password eight workers would still make eight wrong logins. So a process acquires the lock before it logs in, and learns
whether another process was rejected:

    worker ──▶ lock among the workers of this program (worker_lock.py) ──▶ lock among all gateways (Redis) ──▶ log in

The lock is needed only to log in, not to use a token or accepted Basic credentials. If Redis does not answer, a gateway
logs in without that lock.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Timing
from gateway.storage.shared import Store

_POLL_INTERVAL_SECONDS = 0.05
_REJECTED = b"rejected "


class LoginAttempt(Protocol):
    """The right to log in, which only one process has at a time."""

    @property
    def rejected_for(self) -> float | None:
        """For how many more seconds another process's rejection counts; None without one."""

    async def reject(self, seconds: float) -> None:
        """Tell the other processes that the account was rejected, and for how long that counts."""


class LoginLock(Protocol):
    """A lock that all processes with the same account share."""

    def attempt(self) -> AbstractAsyncContextManager[LoginAttempt]:
        """Acquire the lock; the caller logs in unless the attempt says that the account is rejected."""

    async def aclose(self) -> None:
        """Close connections."""


@dataclass(slots=True)
class _NestedAttempt:
    attempts: Sequence[LoginAttempt] = ()

    @property
    def rejected_for(self) -> float | None:
        return max((each.rejected_for for each in self.attempts if each.rejected_for is not None), default=None)

    async def reject(self, seconds: float) -> None:
        for each in self.attempts:
            await each.reject(seconds)


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
                if attempt.rejected_for is not None:
                    break
            yield _NestedAttempt(attempts)

    async def aclose(self) -> None:
        """Close the connections of every lock."""
        for lock in self._locks:
            await lock.aclose()


@dataclass(slots=True)
class _GatewayAttempt:
    rejected_for: float | None
    rejected: float | None = None

    async def reject(self, seconds: float) -> None:
        self.rejected = seconds


class GatewayLoginLock:
    """A lock by an entry of the store that gateways share; ``account`` names the account and its password.

    ``timeout`` is the longest that a login may take, in seconds: the entry of a gateway that died expires after it.
    """

    def __init__(self, store: Store, account: str, timeout: float, timing: Timing) -> None:
        self._store = store
        self._key = f"login:{account}"
        self._timeout = timeout
        self._timing = timing

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[LoginAttempt]:
        """Claim the entry, or read from it that the account is rejected."""
        mine = b"tried by " + secrets.token_bytes(16)
        rejected_for = await self._claim(mine)
        attempt = _GatewayAttempt(rejected_for)
        try:
            yield attempt
        finally:
            if attempt.rejected is not None:
                until = str(self._timing.now() + attempt.rejected).encode()
                await self._store.set(self._key, _REJECTED + until, attempt.rejected, urgent=True)
            elif rejected_for is None:
                await self._store.set(self._key, b"", 0.001)

    async def _claim(self, mine: bytes) -> float | None:
        give_up = self._timing.clock() + self._timeout
        while True:
            found = await self._store.claim(self._key, mine, self._timeout)
            if found is not None and found.startswith(_REJECTED):
                return max(0.0, float(found.removeprefix(_REJECTED)) - self._timing.now())
            # None: Redis does not answer. After the timeout, the gateway that holds the entry has died.
            if found in {None, mine} or self._timing.clock() >= give_up:
                return None
            await asyncio.sleep(_POLL_INTERVAL_SECONDS)

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()
