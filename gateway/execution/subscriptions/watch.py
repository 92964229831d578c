"""A watch: one thread or customer, as one credential sees it.

It is read once for all who watch it with that credential: when the first of them subscribes, after each event, and
again now and then, since an event may have been lost.

    touch ─▶ dirty ─▶ slot ─▶ read ─▶ every feed ─▶ (failed: again soon; older than the event: once more after 2 s)

An event during a read makes the watch dirty again, so that the last read always begins after the last event.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from gateway.auth import Viewer
from gateway.errors import Forbidden, GatewayError, InternalError, Unauthenticated
from gateway.events import Event
from gateway.execution.subscriptions.feed import Feed
from gateway.execution.subscriptions.subscription import EndReason
from gateway.execution.subscriptions.timeline import READ_AGAIN, SUBSCRIBED, Timeline
from gateway.schema.resolvers.context import ContextFactory, OperationContext, Update
from gateway.schema.resolvers.links import Load
from gateway.schema.resolvers.records import RestBody
from gateway.schema.subscriptions import Kind
from gateway.schema.types import CUSTOMER_SOURCE, THREAD_SOURCE
from gateway.telemetry import logger
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.transports.fair_queue import FairQueue

_SOURCES = {Kind.THREAD: THREAD_SOURCE, Kind.CUSTOMER: CUSTOMER_SOURCE}
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """When things are read again; in seconds, each more or less by a tenth."""

    resync_interval: float = 300.0
    older_than_event: float = 2.0
    """After a state that is older than its event."""
    failed: float = 1.0
    """After a first failure; it doubles with each further one."""
    fresh: float = 1.0
    """How old a state may be that a new subscription gets without a read."""


class ReadSlots:
    """Bounds the reads at the same time, and gives callers their turns: one with many threads delays no other."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(sys.maxsize)

    @asynccontextmanager
    async def of(self, caller: str) -> AsyncIterator[None]:
        """Hold a slot."""
        await self._acquire(caller)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, caller: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn, caller)
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.remove(turn)
            if turn.done() and not turn.cancelled():
                self._release()  # it got a slot, and will not use it
            raise

    def _release(self) -> None:
        while (found := self._waiting.pop()) is not None:
            turn, _caller = found
            if not turn.done():
                turn.set_result(None)  # it gets this slot
                return
        self._free += 1


class Registry(Protocol):
    """What a watch needs of the whole."""

    contexts: ContextFactory
    slots: ReadSlots
    pace: Pace
    purge: Callable[[str], Awaitable[object]]
    """Purges a subject, such as ``thread:th-1``."""

    now: Callable[[], float]
    """The wall clock, in seconds since 1970."""

    def spread(self, seconds: float) -> float:
        """Return ``seconds``, more or less by a tenth."""

    def listeners(self, authorization: str | None) -> Iterable[Feed]:
        """Return the feeds of a credential that get every change."""

    def reject(self, authorization: str, error: GatewayError) -> None:
        """End every subscription of a credential that the REST API rejected."""

    def forget(self, watch: "Watch") -> None:
        """Drop a watch that nobody needs."""


class _Stamp(msgspec.Struct):
    updated_at: str | None = None


class _Customer(msgspec.Struct):
    external_id: Any = None


class _Members(msgspec.Struct):
    customers: list[_Customer | None] | None = None


_STAMP = msgspec.json.Decoder(_Stamp)
_MEMBERS = msgspec.json.Decoder(_Members)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a body raises, whatever the body is."""


class Watch:
    """One thread or customer; ``viewer`` has the credential."""

    def __init__(self, kind: Kind, ident: str, viewer: Viewer, registry: Registry) -> None:
        self.kind = kind
        self.ident = ident
        self.viewer = viewer
        self.feeds: dict[Feed, float] = {}
        """When the last read for each began, by the event loop's clock."""
        self._registry = registry
        self._customers: frozenset[str] = frozenset()
        self._is_dirty = False
        self._joining: dict[Feed, None] = {}
        self._event: Event | None = None
        self._failures = 0
        self._purged_at: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def is_fresh(self, feed: Feed) -> bool:
        """Return whether the last state of a feed is recent enough for a new subscription."""
        age = asyncio.get_running_loop().time() - self.feeds[feed]
        return self._task is None and not self._failures and age < self._registry.pace.fresh

    @property
    def is_reading(self) -> bool:
        """Whether a read is under way."""
        return self._task is not None

    def may_show(self, customers: Iterable[str]) -> bool:
        """Return whether this is a thread with one of these customers, by their external ids, or may become one.

        Which customers a thread has is not known while it is read.
        """
        return self.kind is Kind.THREAD and (self.is_reading or not self._customers.isdisjoint(customers))

    def join(self, feed: Feed) -> None:
        """Read for a feed with a new subscription."""
        self._joining[feed] = None
        self._start()

    def touch(self, event: Event | None = None) -> None:
        """Read again for all."""
        self._is_dirty = True
        self._event = event or self._event
        self._start()

    def leave(self, feed: Feed) -> None:
        """Remove a feed; after the last one nothing is read."""
        self.feeds.pop(feed, None)
        self._joining.pop(feed, None)
        if not self.feeds:
            self.close()

    def close(self) -> None:
        """Stop."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()
        self._registry.forget(self)

    def _start(self) -> None:
        self._cancel_timer()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="subscription-read")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self) -> None:
        try:
            while self._is_dirty or self._joining:
                async with self._registry.slots.of(self.viewer.caller):
                    await self._read()
        except Exception as exc:  # noqa: BLE001 - the outermost boundary of this task
            logger.error("a subscription failed", exc_info=exc)
            for feed in list(self.feeds):
                feed.end(EndReason.FAILED, InternalError())
        finally:
            self._task = None
            if not self.feeds and self._timer is None:
                self._registry.forget(self)

    async def _read(self) -> None:
        event, self._event = self._event, None
        feeds = list(self.feeds if self._is_dirty else self._joining)
        timeline = self._timeline(event)
        # What is dirty was purged. Nothing says how old a cached response is that a new subscription would begin with.
        fresh = not self._is_dirty or self._failures > 0
        self._is_dirty = False
        self._joining.clear()
        context = self._registry.contexts.build(self.viewer, feeds[0].request_id if feeds else "", fresh=fresh)
        self.feeds.update(dict.fromkeys(feeds, asyncio.get_running_loop().time()))
        try:
            await self._read_with(context, feeds, timeline)
        finally:
            context.loaders.close()

    async def _read_with(self, context: OperationContext, feeds: list[Feed], timeline: Timeline) -> None:
        event = timeline.event
        listeners = [] if event is None else list(self._registry.listeners(self.viewer.authorization))
        if not feeds and not listeners:
            return  # all have left, perhaps because the REST API rejects their credentials
        body, error = None, None
        if feeds or self.viewer.authorization is not None:
            try:
                body = await Load(_SOURCES[self.kind], self.ident).body(context.loaders)
            except GatewayError as exc:
                error = exc
            if error is not None and self._is_refused(error):
                return
        if body is not None and self.kind is Kind.THREAD:
            self._customers = _customers(body)
        if self.viewer.authorization is not None and body is None:
            listeners = []  # the caller may not read it: see `Subscription.thread_changes`
        update = Update(self.ident, _change(self.ident, event))
        is_failing = error is not None and error.retryable
        for feed in (*feeds, *listeners):
            for member in feed.members:
                member.reports = member.reports or context.reports
            is_failing |= await feed.update(context, update, timeline)
        self._plan_next(context, body, event, is_failing=is_failing)

    def _timeline(self, event: Event | None) -> Timeline:
        """Return the timeline of a read that begins now."""
        purged_at, self._purged_at = self._purged_at, None
        if event is not None:
            cause, purged_at = event.code or "event", purged_at or event.purged_at
        else:
            cause = READ_AGAIN if self._is_dirty else SUBSCRIBED
        return Timeline(cause, self._registry.now(), event, purged_at)

    def _is_refused(self, error: GatewayError) -> bool:
        """End what the REST API refuses: all of a credential after a 401, this thread or customer after a 403."""
        authorization = self.viewer.authorization
        if isinstance(error, Unauthenticated) and authorization is not None:
            self._registry.reject(authorization, error)
            return True
        if isinstance(error, Forbidden):
            for feed in list(self.feeds):
                feed.end(EndReason.UNAUTHORIZED, error)
            return True
        return False

    def _plan_next(
        self, context: OperationContext, body: RestBody | None, event: Event | None, *, is_failing: bool
    ) -> None:
        pace = self._registry.pace
        if is_failing:
            self._event = self._event or event
            self._again(min(pace.failed * 2**self._failures, _LONGEST_PAUSE_SECONDS), self.touch)
            self._failures = min(self._failures + 1, 10)
            return
        self._failures = 0
        is_stale = any(report.origin is ResponseOrigin.STALE for report in context.reports)
        if is_stale or _is_older(body, event):
            self._again(pace.older_than_event, self._read_past_the_cache)
        elif self.feeds:
            self._again(pace.resync_interval, self._read_past_the_cache)

    def _again(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel_timer()
        delay = self._registry.spread(seconds)
        self._timer = asyncio.get_running_loop().call_later(delay, then)

    def _read_past_the_cache(self) -> None:
        self._timer = None
        if self._task is None:
            self._task = asyncio.create_task(self._purge_and_run(), name="subscription-read")

    async def _purge_and_run(self) -> None:
        await self._registry.purge(f"{self.kind}:{self.ident}")
        self._purged_at = self._registry.now()
        self._is_dirty = True
        await self._run()


def require_id(kind: Kind, ident: str) -> None:
    """Raise BadUserInput for an id that cannot be read."""
    route = _SOURCES[kind].route
    if route is not None:
        route.path(ident)


def _customers(body: RestBody) -> frozenset[str]:
    """Return the external ids of a thread's customers; none of a body that cannot be read."""
    try:
        members = _MEMBERS.decode(body.content).customers or ()
    except _UNREADABLE:
        return frozenset()
    ids = [each.external_id for each in members if each is not None]
    return frozenset(str(each) for each in ids if isinstance(each, (str, int)))


def _change(ident: str, event: Event | None) -> str:
    event = event or Event()
    shown = {"thread_id": ident, "event_code": event.code, "event_date": event.date, "source": event.source}
    return msgspec.json.encode(shown).decode()


def _is_older(body: RestBody | None, event: Event | None) -> bool:
    """Return whether the state is older than its event: then the REST API has not shown the change yet."""
    if body is None or event is None or event.date is None:
        return False
    try:
        updated_at = _STAMP.decode(body.content).updated_at
        return updated_at is not None and datetime.fromisoformat(updated_at) < datetime.fromisoformat(event.date)
    except (*_UNREADABLE, ValueError, TypeError):  # TypeError: one of them has no time zone
        return False
