"""What an event does in this process: first the cache, then the subscribers. And how one is published.

    publish ─▶ purge what all processes share ─▶ bus ─▶ in each process: purge what is its own ─▶ subscribers read again

The shared cache is purged before the bus has the event: a process that reads on the event must not find the old entry.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, get_args

import msgspec
from prometheus_client.core import Metric

from gateway.events.bus import Bus, Gap
from gateway.events.event import SOURCE_GATEWAY, Event
from gateway.telemetry import Counts, logger
from gateway.telemetry.metrics import counter

_EVERYTHING_AT_MOST_EVERY_SECONDS = 5.0
_GAP = "event_gaps: "


class Purge(Protocol):
    """Purges what is known of the REST API. A subject is ``thread:<id>`` or ``customer:<external id>``."""

    async def shared(self, subjects: Iterable[str]) -> bool:
        """Purge what all processes share; return whether that was accepted."""

    async def own(self, subjects: Iterable[str]) -> None:
        """Purge what only this process has."""

    def suspend(self) -> None:
        """Serve nothing from the cache until `everything` was accepted."""

    async def everything(self) -> bool:
        """Purge everything; return whether that was accepted."""


class Subscribers(Protocol):
    """Those who watch."""

    async def apply(self, event: Event) -> None:
        """Read again what the event names."""

    async def resynchronise(self) -> None:
        """Read again everything that is watched."""


class Changes:
    """Publishes events, and applies those of all processes here. ``now`` is the wall clock, in seconds.

    ``pause`` is the time between two purges of everything, in seconds.
    """

    def __init__(
        self,
        bus: Bus,
        purge: Purge,
        subscribers: Subscribers,
        *,
        counts: Counts,
        now: Callable[[], float],
        pause: float = _EVERYTHING_AT_MOST_EVERY_SECONDS,
    ) -> None:
        self._bus = bus
        self._purge = purge
        self._subscribers = subscribers
        self._counts = counts
        self._now = now
        self._pause = pause
        self._last_everything = float("-inf")
        self._later: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Apply events from now on."""
        await self._bus.start(self)

    async def publish(self, event: Event, *, wait: bool = False) -> bool:
        """Return whether the bus has the event. With ``wait``, all live processes have applied it, or a second is over.

        What is known here is purged in any case.
        """
        accepted = await self._purge.shared(event.subjects)
        if accepted and await self._bus.publish(event, wait=wait):
            return True
        await self._purge.own(event.subjects)
        return False

    async def announce(self, thread_id: str) -> None:
        """Tell all processes of a write of this gateway."""
        event = Event((thread_id,), code="thread_updated", source=SOURCE_GATEWAY, taken_at=self._now())
        if not await self.publish(event, wait=True):
            await self._subscribers.apply(event)

    async def apply(self, event: Event) -> None:
        """Purge what the event names, and let subscribers read it."""
        self._counts["events_applied"] += 1
        try:
            if event.everything:
                self._everything_soon()
                return
            await self._purge.own(event.subjects)
            await self._subscribers.apply(msgspec.structs.replace(event, purged_at=self._now()))
        except Exception as exc:  # noqa: BLE001 - the bus goes on with the next event
            logger.error("an event could not be applied", exc_info=exc)

    async def lose(self) -> None:
        """Serve nothing from the cache until everything is purged: events may be missed from now on."""
        self._purge.suspend()

    async def resynchronise(self, reason: Gap) -> bool:
        """Purge everything, and let all subscribers read again: events may have been missed."""
        self._counts[_GAP + reason] += 1
        logger.warning("events may have been missed (%s): everything is purged and read again", reason)
        return await self._everything()

    def _everything_soon(self) -> None:
        """Purge everything, now or when the pause since the last time is over."""
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._everything_later(), name="purge-everything")

    async def _everything_later(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._last_everything + self._pause - loop.time()))
        self._last_everything = loop.time()
        await self._everything()

    async def _everything(self) -> bool:
        accepted = await self._purge.everything()
        await self._subscribers.resynchronise()
        return accepted

    async def aclose(self) -> None:
        """Stop."""
        if self._later is not None:
            self._later.cancel()
        await self._bus.aclose()


def event_metrics(counts: Counts) -> Iterator[Metric]:
    """Yield the metrics of events in this process. They are read at each scrape."""
    yield counter(
        "events_applied", "Events that were applied: purged, and read again.", (), {(): counts["events_applied"]}
    )
    yield counter(
        "event_gaps",
        "Times that events may have been missed, so that everything was purged and read again, by reason.",
        ("reason",),
        {(reason,): counts[_GAP + reason] for reason in get_args(Gap)},
    )
