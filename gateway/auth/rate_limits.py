"""How often something may happen, by name: what a limit is. `gateway.auth.gcra` has them."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Standing:
    """How a name stands after it took its share; times are in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    """Until all is there again."""
    retry_after: float
    """Until the next is allowed; 0 where this one was."""


class Rate(Protocol):
    """A limit. ``window`` is in seconds: ``limit`` may happen in it."""

    limit: int
    window: int

    async def take(self, name: str, cost: int = 1) -> Standing | None:
        """Take ``cost`` of what ``name`` may; None where it is not known whether it may: let it."""

    async def aclose(self) -> None:
        """Close the connections."""
