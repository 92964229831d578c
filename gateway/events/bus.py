"""The bus: carries each event to every process, where it is applied: first to the cache, then to subscribers.

    publish ──▶ bus ──▶ in every process: purge (cache, coalescing) ──▶ subscriptions read again

A process that may have missed events cannot know which. So it purges everything and reads again what is watched.
"""

from typing import Literal, Protocol, TypeAlias

from gateway.events.event import Event

Gap: TypeAlias = Literal["overtaken", "place gone", "redis"]
"""Why events may have been missed."""


class Consumer(Protocol):
    """Applies events in this process."""

    async def apply(self, event: Event) -> None:
        """Purge what changed, and let subscriptions read it again."""

    async def lose(self) -> None:
        """Serve nothing from the cache until `resynchronise` succeeds: events may be missed from now on."""

    async def resynchronise(self, reason: Gap) -> bool:
        """Purge everything, and let all subscriptions read again; return whether the cache accepted it."""


class Bus(Protocol):
    """Carries events to the consumers of all processes."""

    async def start(self, consumer: Consumer) -> None:
        """Carry events to ``consumer`` from now on."""

    async def publish(self, event: Event, *, wait: bool = False) -> bool:
        """Return whether the bus has the event.

        With ``wait``, every live process has applied it, or a second is over.
        """

    async def aclose(self) -> None:
        """Stop."""


class LocalBus:
    """A bus for one process: an event is applied where it is published."""

    def __init__(self) -> None:
        self._consumer: Consumer | None = None

    async def start(self, consumer: Consumer) -> None:
        """Apply events to ``consumer`` from now on."""
        self._consumer = consumer

    async def publish(self, event: Event, *, wait: bool = False) -> bool:  # noqa: ARG002 - the protocol's signature
        """Apply the event."""
        if self._consumer is None:
            return False
        await self._consumer.apply(event)
        return True

    async def aclose(self) -> None:
        """Do nothing."""
