"""Events: what says that something changed upstream, and the bus that carries it to every worker and gateway."""

from gateway.events.bus import Bus, Consumer, LocalBus
from gateway.events.changes import Changes, event_metrics
from gateway.events.event import SOURCE_GATEWAY, Event

__all__ = ["SOURCE_GATEWAY", "Bus", "Changes", "Consumer", "Event", "LocalBus", "event_metrics"]
