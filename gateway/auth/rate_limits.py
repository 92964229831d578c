"""The interface of a rate limiter, and the state of one name in it. `gateway.auth.gcra` implements it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a name after it was counted; times are in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    """Seconds until the whole limit is available again."""
    retry_after: float
    """Seconds until the next is allowed; 0 if this one was."""


class Rate(Protocol):
    """A limit: at most ``limit`` in ``window`` seconds."""

    limit: int
    window: int

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Count ``cost`` for ``name``. None if the store did not respond; the caller then allows the request."""

    async def aclose(self) -> None:
        """Close the connections."""
