"""A subscription of one client: what it has not taken yet, and why it ended.

It holds the latest state of each thing that it watches and no queue of states. So a client that takes nothing costs
constant memory and delays nobody, and the next thing that it takes is the latest state.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Self

from gateway.auth import Viewer
from gateway.execution.subscriptions.timeline import SUBSCRIBED, Timeline
from gateway.schema.resolvers.context import Execution
from gateway.upstream.call import CallReports


class EndReason(StrEnum):
    """Why a subscription ended."""

    CLIENT = "client"
    """The client ended it, or closed its connection."""
    EXPIRED = "expired"
    """The caller's credentials have expired."""
    UNAUTHORIZED = "unauthorized"
    """The REST API answered 401 or 403. The last payload says so."""
    LIFETIME = "lifetime"
    """It has lasted as long as a subscription may. The client should subscribe again."""
    DRAIN = "drain"
    """The worker stops. The client should subscribe again."""
    SLOW = "slow"
    """The client took nothing for too long."""
    CONNECTION = "connection"
    """The client's connection was lost, or did not answer."""
    FAILED = "failed"
    """A bug of the gateway. The last payload says so."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who subscribes: ``address`` is the client's IP address, None where it is unknown."""

    viewer: Viewer
    request_id: str
    address: str | None = None


class State(NamedTuple):
    """A result, encoded once for all who get it. ``version`` is different for each."""

    payload: bytes
    version: int
    timeline: Timeline | None = None
    """When what led to it happened; None where nothing has to be known of it."""

    def for_newcomer(self) -> "State":
        """Return the same for a new subscription: an event that led to it was delivered to others."""
        timeline = self.timeline and replace(self.timeline, cause=SUBSCRIBED, event=None, purged_at=None)
        return self._replace(timeline=timeline)

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no content."""
        return f"State({len(self.payload)} bytes, version {self.version})"


_MAX_PENDING_CHANGES = 100


class Subscription(AsyncIterator[bytes]):
    """The results of a subscription, each a complete and encoded execution result. One consumer takes them.

    ``overflow`` replaces too many changes that wait; None where there is one state for each subject. ``leave`` is
    called once, when it ends. ``taken`` is called with each state that the consumer takes.
    """

    __slots__ = (
        "_execution",
        "_farewell",
        "_leave",
        "_overflow",
        "_pending",
        "_seen",
        "_taken",
        "_timer",
        "_waiter",
        "ended",
        "reports",
        "subscriber",
        "timeline",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        execution: Execution,
        leave: Callable[["Subscription"], None],
        taken: Callable[[State], None],
        overflow: State | None = None,
    ) -> None:
        self.subscriber = subscriber
        self.ended: EndReason | None = None
        """Why it ended; None while it is open."""
        self.reports: CallReports = []
        """The REST calls of its first read."""
        self.timeline: Timeline | None = None
        """Of the result that was taken last."""
        self._execution = execution
        self._leave = leave
        self._taken = taken
        self._overflow = overflow
        self._pending: dict[str, State] = {}
        self._seen: dict[str, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: bytes | None = None

    @property
    def execution(self) -> Execution:
        """How its operation is executed."""
        return self._execution

    def knows(self, subject: str) -> bool:
        """Return whether it has got a state of ``subject``."""
        return subject in self._seen or subject in self._pending

    def offer(self, subject: str, state: State) -> None:
        """Replace the state of ``subject`` that waits for the client, unless the client has this one."""
        if self.ended is not None:
            return  # it ended while others were offered the state
        if self._overflow is None:
            if self._seen.get(subject) == state.version:
                self._pending.pop(subject, None)
                return
        elif len(self._pending) >= _MAX_PENDING_CHANGES and subject not in self._pending:
            self._pending.clear()
            subject, state = "", self._overflow
        self._pending[subject] = state
        self._wake()

    def end_after(self, seconds: float, reason: EndReason) -> None:
        """End it after some time."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end, reason)

    def end(self, reason: EndReason, farewell: bytes | None = None) -> None:
        """End it, if it has not ended. ``farewell`` is a last result."""
        if self.ended is not None:
            return
        self.ended, self._farewell = reason, farewell
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._leave(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next result, when there is one."""
        while not self._pending:
            if self.ended is not None:
                return self._last()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        subject = next(iter(self._pending))
        state = self._pending.pop(subject)
        if self._overflow is None:
            self._seen[subject] = state.version
        self.timeline = state.timeline
        self._taken(state)
        return state.payload

    def _last(self) -> bytes:
        farewell, self._farewell = self._farewell, None
        self.timeline = None
        if farewell is None:
            raise StopAsyncIteration
        return farewell

    async def aclose(self, reason: EndReason = EndReason.CLIENT) -> None:
        """End it."""
        self.end(reason)
