"""A timeline: when each step between an event and a delivery happened. It has times, and nothing that was read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.events import SOURCE_GATEWAY, Event

SUBSCRIBED: Final = "subscribed"
"""The cause of the read for a new subscription."""
READ_AGAIN: Final = "read again"
"""The cause of a read that no event caused: the time was over, or events may have been missed."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The moments before a result was offered to its subscribers, in seconds since 1970."""

    cause: str
    """The code of the event, as the webhook calls it, or why there was a read without one."""
    read_at: float
    """The read began."""
    event: Event | None = None
    purged_at: float | None = None
    """The caches of this process had lost what the event names."""
    ready_at: float | None = None
    """The REST API had answered, and the result was built."""

    @property
    def event_at(self) -> float | None:
        """When the event arrived; None where no event caused the read."""
        return None if self.event is None else self.event.taken_at

    def shown(self, delivered_at: float) -> dict[str, Any]:
        """Return the form for people who look for the cause of a delay."""
        is_own = self.event is not None and self.event.source == SOURCE_GATEWAY
        moments = {
            "write" if is_own else "webhook": self.event_at,
            "purge": self.purged_at,
            "read": self.read_at,
            "result": self.ready_at,
            "delivery": delivered_at,
        }
        known = [{"moment": name, "at": _written(at)} for name, at in moments.items() if at is not None]
        return {"cause": self.cause, "moments": known}


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
