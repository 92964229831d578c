"""A feed: one selection, with one set of variables, of one credential.

All subscriptions with these share its results.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import msgspec

from gateway.errors import (
    GatewayError,
    RateLimited,
    Unauthenticated,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.execution.engine import Engine, Prepared
from gateway.execution.result import Result, failed
from gateway.execution.subscriptions.subscription import EndReason, State, Subscriber, Subscription
from gateway.execution.subscriptions.timeline import Timeline
from gateway.schema.resolvers.budget import Budget
from gateway.schema.resolvers.context import Execution, OperationContext, Update
from gateway.schema.subscriptions import Kind

_TEMPORARY = {RateLimited.code, UpstreamTimeout.code, UpstreamUnavailable.code, UpstreamError.code}
# Where nothing could be read at all, also these may be gone at the next try.
_FAILURES = _TEMPORARY | {UpstreamInvalidResponse.code, Unauthenticated.code}
# After so many subscriptions, others get a turn: an offer and what it wakes take some 20 us.
_OFFERS_PER_TURN = 200

_versions = count(1)


@dataclass(frozen=True, slots=True)
class FeedKey:
    """What subscriptions must have in common to share results."""

    document: str
    name: str | None
    variables: bytes = field(repr=False)
    authorization: str | None = field(repr=False)
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Watched:
    """What an operation watches."""

    prepared: Prepared
    execution: Execution
    kind: Kind
    idents: tuple[str, ...]
    """Of threads or customers; none where it watches all."""


class Feed:
    """The results of one selection, for all who watch it. ``key`` names it, ``reader`` is who reads for all of them.

    ``now`` is the wall clock, in seconds.
    """

    def __init__(
        self, engine: Engine, watched: Watched, key: FeedKey, reader: Subscriber, now: Callable[[], float]
    ) -> None:
        self.key = key
        self.kind = watched.kind
        self.idents = watched.idents
        self.request_id = reader.request_id
        self.execution = watched.execution
        self.viewer = reader.viewer
        self.members: dict[Subscription, None] = {}
        self.overflow: State | None = None
        """Replaces too many changes that wait, where every change is watched."""
        self._engine = engine
        self._now = now
        self._prepared = watched.prepared
        self._states: dict[str, State] = {}

    def state(self, subject: str) -> State | None:
        """Return the last state of ``subject`` that was complete; None where there is none."""
        return self._states.get(subject)

    async def update(self, context: OperationContext, update: Update, timeline: Timeline) -> bool:
        """Execute the selection, and offer the result to the members. Return whether to try again soon.

        ``context`` has the loaders of this read; they are shared with other feeds.
        """
        result = await self._run(context, update)
        state = State(msgspec.json.encode(result.payload), next(_versions), replace(timeline, ready_at=self._now()))
        if _is_missing(result):
            # They keep what they have: the next try, or the next but one, has the true state.
            await self._offer(update.id, state, [each for each in self.members if not each.knows(update.id)])
            return True
        if self.kind is not Kind.CHANGES:
            known = self._states.get(update.id)
            if known is not None and known.payload == state.payload:
                state = state._replace(version=known.version)
            self._states[update.id] = state
        await self._offer(update.id, state, list(self.members))
        return not _TEMPORARY.isdisjoint(result.codes)

    async def execute(self, context: OperationContext, update: Update) -> State:
        """Execute the selection, and return the result."""
        result = await self._run(context, update)
        return State(msgspec.json.encode(result.payload), next(_versions))

    async def _run(self, context: OperationContext, update: Update) -> Result:
        own = msgspec.structs.replace(
            context,
            viewer=self.viewer,
            request_id=self.request_id,
            execution=self.execution,
            budget=Budget(context.budget.limits),
            entities={},
            update=update,
        )
        return await self._engine.run(self._prepared, own)

    async def _offer(self, subject: str, state: State, members: list[Subscription]) -> None:
        for index, member in enumerate(members, 1):
            member.offer(subject, state)
            if not index % _OFFERS_PER_TURN:
                await asyncio.sleep(0)

    def end(self, reason: EndReason, error: GatewayError) -> None:
        """End all subscriptions, each with the error as its last result."""
        for member in list(self.members):
            payload = failed(error, member.subscriber.request_id).payload
            member.end(reason, msgspec.json.encode(payload))


def _is_missing(result: Result) -> bool:
    """Return whether the root has no value because the REST API failed."""
    if _FAILURES.isdisjoint(result.codes):
        return False
    data = result.payload.get("data")
    if isinstance(data, msgspec.Raw):
        data = msgspec.json.decode(data)
    return data is None or all(value is None for value in data.values())
