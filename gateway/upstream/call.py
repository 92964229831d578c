"""One REST call: its state while it passes through the layers, and the report afterwards.

Every request carries a Call in its extensions: the client creates it, and each layer adds what it did.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

import httpx

EXTENSION = "call"

CANCELLED = "cancelled"
"""The outcome of a call that was cancelled because no caller waited for it any more."""

_STATUSES = {status.value: str(status.value) for status in HTTPStatus}


def outcome_of(status: int) -> str:
    """Return the status as text, or ``other`` for an unregistered one: metrics need a bounded number of labels."""
    return _STATUSES.get(status, "other")


class ResponseOrigin(StrEnum):
    """Where a response came from."""

    FETCHED = "fetched"
    COALESCED = "coalesced"
    CACHED = "cached"
    STALE = "stale"


@dataclass(slots=True)
class Call:
    """One REST call. ``deadline`` and ``sent_at`` are times of the event loop; a purge names the ``subject``.

    A caller may choose an early deadline. ``timeout`` is the gateway's own for the whole operation, in seconds: the
    circuit breaker judges by it, not by the deadline.

    ``account`` names the gateway's own account if that was used: its tokens change, the account does not.
    """

    route: str
    deadline: float
    subject: str | None = None
    account: str | None = None
    attempts: int = 0
    origin: ResponseOrigin = ResponseOrigin.FETCHED
    age: float | None = None
    """The age of the response in seconds, if it came from the cache."""
    timeout: float = math.inf
    caller: str = ""
    """The viewer's caller name: calls wait for a slot in one line per caller. Empty for the gateway's own calls."""
    sent_at: float | None = None
    """When the current attempt got its slot and was sent; None while it waits for one."""
    join_line: Callable[[str], None] | None = None
    """While it waits for a slot: lets it also wait in the line of another caller, who shares it."""
    before_send: Callable[[], None] | None = None
    """Called once an attempt has its slot, immediately before it is sent; if it raises, nothing is sent."""
    on_status: Callable[[int], None] | None = None
    """Called with the status of an attempt's response before its slot is released: the next call may depend on it."""


def call_of(request: httpx.Request) -> Call:
    """Return the call that ``request`` belongs to."""
    call: Call = request.extensions[EXTENSION]
    return call


class CallReport(NamedTuple):
    """The result of one REST call: an entry of ``extensions.upstream``. It names a route, never an id."""

    route: str
    status: int | None
    milliseconds: float
    attempts: int
    origin: ResponseOrigin
    age: float | None = None
    outcome: str = ""
    """The status, the code of the error, or ``cancelled``."""

    @property
    def succeeded(self) -> bool:
        """Whether the REST API answered the call: it has accepted the caller's credentials."""
        return self.status == HTTPStatus.OK

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


CallReports: TypeAlias = list[CallReport]
"""The calls of one operation, in the order they ended."""
