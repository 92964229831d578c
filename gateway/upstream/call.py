"""One REST call: the frozen request, the call's state while it passes the layers, and the report afterwards."""

import asyncio
import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

import msgspec

from gateway.http1 import HeaderLines, Request, Response
from gateway.upstream.contract import Route

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

    __hash__ = str.__hash__  # of Enum it is a function in Python


class Call(msgspec.Struct):
    """The state of one REST call, to which each layer adds what it did. Times are of the event loop, in seconds."""

    deadline: float
    """A caller may choose an early one."""
    timeout: float = math.inf
    """The gateway's own for the whole operation: the circuit breaker judges by it, not by the deadline."""
    attempts: int = 0
    origin: ResponseOrigin = ResponseOrigin.FETCHED
    age: float | None = None
    """The age of the response in seconds, if it came from the cache."""
    sent_at: float | None = None
    """When the current attempt got its slot and was sent; None while it waits for one."""
    circuit_open: bool = False
    """Whether an open circuit ended it."""
    in_doubt: bool = False
    """Whether the request was sent, and no response says what became of it."""
    join_line: Callable[[str], None] | None = None
    """While it waits for a slot: lets it also wait in the line of another caller, who shares it."""
    before_send: Callable[[], None] | None = None
    """Called once an attempt has its slot, immediately before it is sent; if it raises, nothing is sent."""
    on_status: Callable[[int], None] | None = None
    """Called with the status of an attempt's response before its slot is released: the next call may depend on it."""

    task: "asyncio.Task[None] | None" = None
    """The task in which it passes the layers. It outlives the caller if others share the call."""
    waiting: int = 1
    """How many wait for its response: its own caller, and those that share it."""

    def leave(self) -> None:
        """Note that one of those who wait has gone; the last one cancels the call."""
        self.waiting -= 1
        if not self.waiting and self.task is not None:
            self.task.cancel()

    def note_sent(self) -> None:
        """Note that the request leaves now: the `on_send` of a request that is not safe."""
        self.in_doubt = True


Owner: TypeAlias = tuple[str, str]
"""Whose cached responses a request may get: of everyone who sends this header, or of the account with this name.

The first member distinguishes the two: gateways of both modes may share a store, and a caller may send any header.
"""


def owner_of(authorization: str | None, account: str | None = None) -> Owner:
    """Return the owner for a header ``Authorization``, or for the gateway's own account."""
    return ("header", authorization or "") if account is None else ("account", account)


class RestRequest(Request, frozen=True, kw_only=True):
    """A request to the REST API, as it passes the layers.

    Only safe requests (GET) are shared, cached, or sent again after a failure that leaves their outcome open.
    """

    route: Route
    call: Call
    subject: str | None = None
    """What a purge names: ``thread:<id>`` or ``customer:<external id>``."""
    caller: str = ""
    """The viewer's caller name: calls wait for a slot in one line per caller. Empty for the gateway's own calls."""
    account: str | None = None
    """The name of the gateway's own account if that is used: its tokens change, the account does not."""
    fresh: bool = False
    """Whether the response must not be older than the request: it is not shared, nor read from the cache."""

    def with_credential(self, authorization: str, account: str | None = None) -> "RestRequest":
        """Return the same request with a credential of the gateway's own."""
        return msgspec.structs.replace(self, authorization=authorization, account=account)

    def with_headers(self, fields: Iterable[tuple[str, str]]) -> "RestRequest":
        """Return the same request with more header fields."""
        return msgspec.structs.replace(self, headers=self.headers + HeaderLines.of(fields))


class Transport(Protocol):
    """A layer that a REST call passes, or the connection pool below all layers."""

    async def send(self, request: RestRequest) -> Response:
        """Return the response.

        Raise a CallFailed of `gateway.http1` if there is none, or a GatewayError if a layer refuses to send it.
        """

    async def aclose(self) -> None:
        """Close this layer and those that follow."""


class Credentials(Transport, Protocol):
    """The outermost layer: it adds the credentials, or refuses to send them."""

    def owner(self, authorization: str | None) -> Owner | None:
        """Return whose cached responses a caller gets who sends this header.

        None if its call would have to wait for credentials, or be refused.
        """


class CallReport(msgspec.Struct, frozen=True):
    """The result of one REST call: an entry of ``extensions.upstream``. What it shows names a route, never an id."""

    route: str
    status: int | None
    milliseconds: float
    attempts: int
    origin: ResponseOrigin
    age: float | None = None
    outcome: str = ""
    """The status, the code of the error, or ``cancelled``."""
    method: str = "GET"
    target: str = ""
    """Path and query string, with the id; empty for what was found in the cache's memory without a call."""
    started: float = 0.0
    """When it began, by `time.perf_counter`."""
    problem: str = ""
    """Why there is no response, in the gateway's words."""
    cause: tuple[str, ...] | None = None
    """The path of the field whose resolver makes the call by itself, where one does."""
    circuit_open: bool = False
    """Whether it was not sent, or not sent again, because the circuit of its route is open."""

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no id."""
        return f"CallReport({self.method} {self.route}, {self.outcome})"

    @property
    def succeeded(self) -> bool:
        """Whether the REST API answered the call: it has accepted the caller's credentials."""
        return self.status == HTTPStatus.OK

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown: dict[str, Any] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "ms": round(self.milliseconds, 1),
            "attempts": self.attempts,
            "source": self.origin.value,
        }
        if self.age is not None:
            shown["ageSeconds"] = round(self.age, 1)
        if self.status is None:
            shown["code"] = self.outcome
        return shown


CallReports: TypeAlias = list[CallReport]
"""The calls of one operation, in the order they ended."""
