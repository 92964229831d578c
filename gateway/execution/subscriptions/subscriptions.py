"""All subscriptions of a worker: how one begins, and what an event does."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import msgspec

from gateway.auth import EVERYONE, Viewer
from gateway.auth.failures import client_of
from gateway.clock import REAL_TIME, Timing
from gateway.errors import (
    BadUserInput,
    GatewayError,
    RequestError,
    SubscriptionsDisabled,
    TooManySubscriptions,
    TooManySubscriptionsOfCaller,
)
from gateway.events import SOURCE_GATEWAY, Event
from gateway.execution.engine import Engine, Prepared
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed, refused
from gateway.execution.subscriptions.feed import Feed, FeedKey, Watched
from gateway.execution.subscriptions.subscription import EndReason, State, Subscriber, Subscription
from gateway.execution.subscriptions.timeline import READ_AGAIN, Timeline
from gateway.execution.subscriptions.watch import Pace, ReadSlots, Watch, require_id
from gateway.schema.resolvers.context import ContextFactory, OperationContext, Update
from gateway.schema.subscriptions import Kind, topic_of
from gateway.telemetry.metrics import Durations

RESYNC = "resync"
"""The code of a change that says: any thread may have changed."""

_RESYNC = Update("", msgspec.json.encode({"event_code": RESYNC, "source": SOURCE_GATEWAY}).decode())


_OWN_CALLER = "subscriptions"


@dataclass(frozen=True, slots=True)
class SubscriptionLimits:
    """How many subscriptions may be open, and how long; ``max_lifetime`` is in seconds."""

    enabled: bool = True
    total: int = 20_000
    per_caller: int = 1000
    max_lifetime: float = 3600.0
    reads: int = 16
    """REST reads at the same time, so that queries get slots too."""


class Subscriptions:
    """Begins subscriptions, and tells them of events."""

    def __init__(
        self,
        engine: Engine,
        contexts: ContextFactory,
        purge: Callable[[str], Awaitable[object]],
        *,
        limits: SubscriptionLimits | None = None,
        pace: Pace | None = None,
        timing: Timing = REAL_TIME,
    ) -> None:
        self.contexts = contexts
        self.purge = purge
        self.limits = limits or SubscriptionLimits()
        self.pace = pace or Pace()
        self.slots = ReadSlots(self.limits.reads)
        self.lag: Durations | None = None
        """Gets the seconds from each event's arrival to each delivery."""
        self._engine = engine
        self._timing = timing
        self.now = timing.now
        self._open: dict[Subscription, Feed] = {}
        self._callers: Counter[str] = Counter()
        self._feeds: dict[FeedKey, Feed] = {}
        self._watches: dict[tuple[Kind, str, str | None], Watch] = {}
        self._by_subject: dict[tuple[Kind, str], dict[Watch, None]] = {}
        self._listeners: dict[str | None, dict[Feed, None]] = {}
        """By credential, the feeds that get every change."""

    @property
    def open(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def reading(self) -> int:
        """How many things are being read."""
        return sum(watch.is_reading for watch in self._watches.values())

    def is_subscription(self, operation: Operation) -> bool:
        """Return whether an operation is a subscription; False also where its document is refused."""
        try:
            return self._engine.is_subscription(operation)
        except RequestError:
            return False

    async def subscribe(self, operation: Operation, subscriber: Subscriber) -> Result | Subscription:
        """Begin a subscription; return the Result that refuses it where it may not begin."""
        context = self.contexts.build(subscriber.viewer, subscriber.request_id)
        try:
            feed = self._feed(self._watched(operation, context), subscriber)
            if feed.kind is Kind.CHANGES and feed.overflow is None:
                feed.overflow = await feed.execute(context, _RESYNC)
            self._require_room(subscriber)
            return self._begin(feed, subscriber)
        except RequestError as exc:
            return refused(exc, subscriber.request_id)
        except GatewayError as exc:
            return failed(exc, subscriber.request_id)
        finally:
            context.loaders.close()

    def require_enabled(self) -> None:
        """Raise SubscriptionsDisabled where there are none."""
        if not self.limits.enabled:
            raise SubscriptionsDisabled

    def topic(self, prepared: Prepared) -> tuple[Kind, tuple[str, ...]]:
        """Return what a subscription watches, and its ids; RequestError or BadUserInput if the arguments are wrong."""
        field, arguments = self._engine.subscription_field(prepared)
        topic = topic_of(field)
        idents = tuple(topic.ids(**arguments))
        if not idents and topic.kind is not Kind.CHANGES:
            raise BadUserInput("Name at least one id to watch.")
        for ident in idents:
            require_id(topic.kind, ident)
        return topic.kind, idents

    def _watched(self, operation: Operation, context: OperationContext) -> Watched:
        self.require_enabled()
        prepared = self._engine.prepare(operation, context)
        kind, idents = self.topic(prepared)
        self._engine.require_cost(prepared, max(1, len(idents)))
        return Watched(prepared, context.execution, kind, idents)

    def _require_room(self, subscriber: Subscriber) -> None:
        limits = self.limits
        if len(self._open) >= limits.total:
            raise TooManySubscriptions(f"This worker has {limits.total} subscriptions and takes no more: try again.")
        if self._callers[_caller(subscriber)] >= limits.per_caller:
            raise TooManySubscriptionsOfCaller(f"A caller may have {limits.per_caller} subscriptions at a time.")

    def _begin(self, feed: Feed, subscriber: Subscriber) -> Subscription:
        feed = self._feeds.setdefault(feed.key, feed)
        if feed.kind is Kind.CHANGES:
            self._listeners.setdefault(feed.key.authorization, {})[feed] = None
        subscription = Subscription(subscriber, feed.execution, self._left, self._taken, feed.overflow)
        feed.members[subscription] = None
        self._open[subscription] = feed
        self._callers[_caller(subscriber)] += 1
        for ident in feed.idents:
            self._join(feed, ident, subscription)
        self._limit_time(subscription)
        return subscription

    def _feed(self, watched: Watched, subscriber: Subscriber) -> Feed:
        """Return the feed that the subscription shares with others, or a new one."""
        operation = watched.prepared.operation
        viewer = subscriber.viewer
        variables = msgspec.json.encode(operation.variables or {}, order="deterministic")
        key = FeedKey(operation.document, operation.name, variables, viewer.authorization, viewer.scopes)
        # Reads with the gateway's own account wait in one line for all callers.
        reader = viewer if viewer.authorization is not None else Viewer(None, _OWN_CALLER, viewer.scopes)
        return self._feeds.get(key) or Feed(
            self._engine, watched, key, Subscriber(reader, subscriber.request_id), self.now
        )

    def _join(self, feed: Feed, ident: str, subscription: Subscription) -> None:
        watch = self._watch(feed.kind, ident, feed.viewer)
        watch.feeds.setdefault(feed, float("-inf"))
        state = feed.state(ident)
        if state is not None and watch.is_fresh(feed):
            subscription.offer(ident, state.for_newcomer())
        else:
            watch.join(feed)

    def _watch(self, kind: Kind, ident: str, viewer: Viewer) -> Watch:
        key = kind, ident, viewer.authorization
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(kind, ident, viewer, self)
            self._by_subject.setdefault((kind, ident), {})[watch] = None
        return watch

    def _limit_time(self, subscription: Subscription) -> None:
        seconds, reason = self.spread(self.limits.max_lifetime), EndReason.LIFETIME
        expires = subscription.subscriber.viewer.expires
        if expires is not None and expires - self.now() < seconds:
            seconds, reason = max(0.0, expires - self.now()), EndReason.EXPIRED
        subscription.end_after(seconds, reason)

    def _taken(self, state: State) -> None:
        event_at = None if state.timeline is None else state.timeline.event_at
        if self.lag is not None and event_at is not None:
            self.lag.observe(max(0.0, self.now() - event_at))

    def _left(self, subscription: Subscription) -> None:
        feed = self._open.pop(subscription)
        caller = _caller(subscription.subscriber)
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
        del feed.members[subscription]
        if not feed.members:
            self._close(feed)

    def _close(self, feed: Feed) -> None:
        authorization = feed.key.authorization
        del self._feeds[feed.key]
        for ident in feed.idents:
            watch = self._watches.get((feed.kind, ident, authorization))
            if watch is not None:
                watch.leave(feed)
        listeners = self._listeners.get(authorization, {})
        listeners.pop(feed, None)
        if not listeners:
            self._listeners.pop(authorization, None)

    async def apply(self, event: Event) -> None:
        """Read again what an event names. Its caches have been purged."""
        if event.everything:
            await self.resynchronise()
        for ident in event.threads:
            for feeds in self._listeners.values():
                self._watch(Kind.THREAD, ident, next(iter(feeds)).viewer)
            for watch in list(self._by_subject.get((Kind.THREAD, ident), ())):
                watch.touch(event)
        for ident in event.customers:
            for watch in list(self._by_subject.get((Kind.CUSTOMER, ident), ())):
                watch.touch(event)
        if event.customers:
            await self._refresh_threads_of(event.customers)

    async def _refresh_threads_of(self, customers: tuple[str, ...]) -> None:
        """Read again the watched threads that show one of these customers. No event has purged them."""
        showing = [watch for watch in self._watches.values() if watch.may_show(customers)]
        for ident in {watch.ident for watch in showing}:
            await self.purge(f"{Kind.THREAD}:{ident}")
        for watch in showing:
            if watch.feeds:
                watch.touch()

    async def resynchronise(self) -> None:
        """Read everything again, and tell those who get every change that some may be missing."""
        for watch in list(self._watches.values()):
            watch.touch()
        for feed in [each for feeds in self._listeners.values() for each in feeds]:
            context = self.contexts.build(feed.viewer, feed.request_id)
            await feed.update(context, _RESYNC, Timeline(READ_AGAIN, self.now()))

    async def aclose(self) -> None:
        """End all subscriptions, and stop every read."""
        for subscription in list(self._open):
            subscription.end(EndReason.DRAIN)
        for watch in list(self._watches.values()):
            watch.close()

    def spread(self, seconds: float) -> float:
        """Return ``seconds``, more or less by a tenth."""
        return seconds * 0.9 + self._timing.jitter(seconds * 0.2)

    def listeners(self, authorization: str | None) -> Iterable[Feed]:
        """Return the feeds of a credential that get every change."""
        return self._listeners.get(authorization, {})

    def reject(self, authorization: str, error: GatewayError) -> None:
        """End every subscription of a credential that the REST API rejected: another call could lock the account."""
        for feed in list(self._feeds.values()):
            if feed.key.authorization == authorization:
                feed.end(EndReason.UNAUTHORIZED, error)

    def forget(self, watch: Watch) -> None:
        """Drop a watch that nobody needs."""
        key = watch.kind, watch.ident, watch.viewer.authorization
        if self._watches.get(key) is watch:
            del self._watches[key]
            watches = self._by_subject[watch.kind, watch.ident]
            del watches[watch]
            if not watches:
                del self._by_subject[watch.kind, watch.ident]


def _caller(subscriber: Subscriber) -> str:
    """Return what the subscriptions of a caller count for; see `gateway.web.rate_limit`."""
    caller = subscriber.viewer.caller
    return caller if caller != EVERYONE else f"address:{client_of(subscriber.address)}"
