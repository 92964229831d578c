"""What is known of one REST call while it passes through the layers, and what is told of it afterwards.

Every request carries a Call in its extensions: the client makes it, each layer adds what it did.
"""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

import httpx

EXTENSION = "call"

CANCELLED = "cancelled"
"""The outcome of a call that nobody waited for any more."""

_STATUSES = {status.value: str(status.value) for status in HTTPStatus}


def outcome_of(status: int) -> str:
    """Return what an answer came to, of a bounded number of words: its status where that is a registered one."""
    return _STATUSES.get(status, "other")


class Origin(StrEnum):
    """Where an answer came from."""

    FETCHED = "fetched"
    COALESCED = "coalesced"
    CACHED = "cached"
    STALE = "stale"


@dataclass(slots=True)
class Call:
    """One REST call. ``deadline`` and ``slow_at`` are times of the event loop; ``subject`` is what a purge would name.

    A caller may choose an early deadline: only a call without an answer at ``slow_at`` (None: at its deadline) says
    that the REST API is too slow.

    ``account`` names the gateway's own account where that was used: its tokens change, the account does not.
    """

    route: str
    deadline: float
    subject: str | None = None
    account: str | None = None
    attempts: int = 0
    origin: Origin = Origin.FETCHED
    age: float | None = None
    """How old the answer is, in seconds, where it came from the cache."""
    slow_at: float | None = None


def call_of(request: httpx.Request) -> Call:
    """Return the call that ``request`` belongs to."""
    call: Call = request.extensions[EXTENSION]
    return call


class CallReport(NamedTuple):
    """What became of one REST call: a line of ``extensions.upstream``. It names a route, never an id."""

    route: str
    status: int | None
    milliseconds: float
    attempts: int
    origin: Origin
    age: float | None = None
    outcome: str = ""
    """The status, or else the code of the error, or ``cancelled``."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown: dict[str, Any] = {
            "route": self.route,
            "status": self.status,
            "ms": round(self.milliseconds, 1),
            "attempts": self.attempts,
            "source": self.origin.value,
        }
        if self.age is not None:
            shown["ageSeconds"] = round(self.age, 1)
        return shown


Trace: TypeAlias = list[CallReport]
"""The calls of one operation, in the order they ended."""
