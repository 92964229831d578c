"""An event: the ids of what changed, never its state. The state is always read from the REST API.

On its own: every kind of bus and the webhook share it.
"""

import msgspec

SOURCE_GATEWAY = "gateway"
"""The source of the gateway's own events: writes that went through it."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed. ``everything``: anything may have."""

    threads: tuple[str, ...] = ()
    """The ids of threads."""
    customers: tuple[str, ...] = ()
    """The external ids of customers."""
    everything: bool = False
    code: str | None = None
    """What happened, as the webhook calls it."""
    date: str | None = None
    """When it happened, as the webhook says."""
    source: str | None = None
    """Who caused it, as the webhook says."""
    taken_at: float | None = None
    """When the gateway got it, in seconds since 1970."""
    purged_at: float | None = None
    """When this process had purged what it names, in seconds since 1970."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What caches call the things that changed: ``thread:<id>``, ``customer:<external id>``."""
        return (*(f"thread:{each}" for each in self.threads), *(f"customer:{each}" for each in self.customers))
