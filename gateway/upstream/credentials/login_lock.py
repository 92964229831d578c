"""One login at a time among all who use the same account, and a rejected one is everybody's.

The REST API locks an account after too many wrong logins. Each process remembers a rejection by itself; with a wrong
password, eight workers would still be eight wrong logins. So whoever wants to try takes a turn first, which tells it of
a rejection that another has met:

    worker ──▶ turn among the workers of this program (worker_logins.py) ──▶ turn among all gateways (Redis) ──▶ try

A turn is for trying alone: with a token, or with Basic credentials that are proven, nobody takes one. Where Redis does
not answer, a gateway tries without asking the others.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Timing
from gateway.storage.memory import Store

_LOOK = 0.05  # seconds between two looks at whether it is our turn
_REJECTED = b"rejected "


class Turn(Protocol):
    """What whoever tries the account learns, and tells."""

    @property
    def rejected_for(self) -> float | None:
        """For how many seconds a rejection that another has met still counts; None where there is none."""

    async def reject(self, seconds: float) -> None:
        """Tell the others that the account was rejected, and for how long that counts."""


class SharedLogins(Protocol):
    """Whoever else uses the same account."""

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """Wait until nobody else tries the account, and keep the others from it meanwhile."""

    async def aclose(self) -> None:
        """Let go of connections."""


@dataclass(slots=True)
class _Turns:
    """Several turns as one."""

    turns: Sequence[Turn] = ()

    @property
    def rejected_for(self) -> float | None:
        """The longest."""
        return max((each.rejected_for for each in self.turns if each.rejected_for is not None), default=None)

    async def reject(self, seconds: float) -> None:
        """Tell all."""
        for each in self.turns:
            await each.reject(seconds)


class InTurn:
    """Takes a turn among several circles of others, one after another; among none, it is alone."""

    def __init__(self, circles: Sequence[SharedLogins] = ()) -> None:
        self._circles = circles

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for each circle in the same order, so that nobody waits for whoever waits for them."""
        async with AsyncExitStack() as stack:
            turns: list[Turn] = []
            for circle in self._circles:
                turn = await stack.enter_async_context(circle.turn())
                turns.append(turn)
                if turn.rejected_for is not None:
                    break
            yield _Turns(turns)

    async def aclose(self) -> None:
        """Let go of every circle's connections."""
        for circle in self._circles:
            await circle.aclose()


@dataclass(slots=True)
class _GatewaysTurn:
    rejected_for: float | None
    rejected: float | None = None

    async def reject(self, seconds: float) -> None:
        self.rejected = seconds


class AmongGateways:
    """Takes turns by an entry of the store that gateways share; ``account`` names the account and its password.

    ``longest`` is how long a login may take, in seconds: the turn of a gateway that died ends by itself.
    """

    def __init__(self, store: Store, account: str, longest: float, timing: Timing) -> None:
        self._store = store
        self._key = f"login:{account}"
        self._longest = longest
        self._timing = timing

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Claim the entry, or learn from it."""
        mine = b"tried by " + secrets.token_bytes(16)
        rejected_for = await self._claim(mine)
        turn = _GatewaysTurn(rejected_for)
        try:
            yield turn
        finally:
            if turn.rejected is not None:
                until = str(self._timing.now() + turn.rejected).encode()
                await self._store.set(self._key, _REJECTED + until, turn.rejected, urgent=True)
            elif rejected_for is None:
                await self._store.set(self._key, b"", 0.001)

    async def _claim(self, mine: bytes) -> float | None:
        give_up = self._timing.clock() + self._longest
        while True:
            found = await self._store.claim(self._key, mine, self._longest)
            if found is not None and found.startswith(_REJECTED):
                return max(0.0, float(found.removeprefix(_REJECTED)) - self._timing.now())
            # Unknown means that Redis does not answer; whoever still tries after the longest time has died.
            if found in {None, mine} or self._timing.clock() >= give_up:
                return None
            await asyncio.sleep(_LOOK)

    async def aclose(self) -> None:
        """Let go of the store."""
        await self._store.aclose()
