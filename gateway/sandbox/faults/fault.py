"""Faults: which requests they apply to, how often, and what they do."""

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from gateway.sandbox.faults.gates import Gates
from gateway.sandbox.faults.patch import PatchError, patched, value_from_json, value_to_json
from gateway.sandbox.http.response import JSON, Response, error_body
from gateway.sandbox.rest_api.endpoints import ROUTES

WEBHOOK: Final = "webhook"
"""Stands for a route where a fault changes the events that the sandbox posts."""

_WHERE: Final = (*ROUTES, WEBHOOK, "*")
_WITH_ID: Final = tuple(name for name, each in ROUTES.items() if each.has_id)
_DROPS: Final = ("before", "mid-body")
_NUMBER: Final = (int, float)
_KINDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "route": (str,),
    "match": (str,),
    "times": (int,),
    "delay": _NUMBER,
    "hold": (str,),
    "status": (int,),
    "body": (str, bytes),
    "headers": (Mapping,),
    "content_type": (str,),
    "drop": (str,),
    "trickle": _NUMBER,
    "patch": (Mapping,),
    "carry_out": (bool,),
    "late": _NUMBER,
}


class FaultError(ValueError):
    """A fault with invalid values; the message says what is wrong and what is allowed."""


@dataclass(frozen=True)
class Fault:
    """A fault at `route` (a name of `ROUTES`, or `*`) that applies `times` times (None: without end).

    `delay` and `hold` come first and can be combined with everything else. A fault with `status` or `body` responds
    as a proxy in between would: the credentials are not checked, and a POST has no effect. The same holds for
    `drop="before"`. With `carry_out` or `late` a POST takes effect nevertheless, also if its client has gone.
    A fault at `webhook` changes or replaces an event that is posted.

    Raises `FaultError`: a value is of the wrong type or unknown, or two fields exclude each other.
    """

    route: str = "*"
    match: str | None = None
    """Only requests with exactly this (decoded) id in the path."""
    times: int | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    """Seconds before anything else happens."""
    hold: str | None = field(default=None, kw_only=True)
    """Wait until `Sandbox.release` is called with this name."""
    status: int | None = field(default=None, kw_only=True)
    """Respond with this status; the body is the contract's error list unless `body` says otherwise."""
    body: str | bytes | None = field(default=None, kw_only=True)
    """Respond with this body, with status 200 unless `status` says otherwise."""
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    content_type: str | None = field(default=None, kw_only=True)
    drop: str | None = field(default=None, kw_only=True)
    """Reset the connection: `before` the first byte, or `mid-body`, after half of the body, or of the status line where
    there is no body."""
    trickle: float = field(default=0.0, kw_only=True)
    """Seconds between the pieces of the body, which is sent in ten."""
    patch: Mapping[str, object] = field(default_factory=dict, kw_only=True)
    """Values to set at dotted paths of a 200 body; `ABSENT` deletes."""
    carry_out: bool = field(default=False, kw_only=True)
    """Carry the request out first, before `delay`, `hold` and everything else."""
    late: float = field(default=0.0, kw_only=True)
    """Carry the request out this many seconds after it arrived, whatever its client was told."""

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            _check_kind(name, getattr(self, name), kinds)
        _check_choice("route", self.route, _WHERE)
        _check_choice("drop", self.drop, (*_DROPS, None))
        self._check_values()

    def _check_values(self) -> None:
        if self.match is not None and self.route not in (*_WITH_ID, "*"):
            raise FaultError(f"route {self.route!r} has no id to match; those that have: {_WITH_ID}")
        if self.times is not None and self.times < 1:
            raise FaultError(f"times is {self.times}; allowed: 1 or more, or None for ever")
        if self.status is not None and not 200 <= self.status <= 599:
            raise FaultError(f"status is {self.status}; allowed: 200 to 599")
        if self.patch and self.replaces:
            raise FaultError("patch changes the ordinary answer: it excludes status and body")
        if min(self.delay, self.trickle, self.late) < 0:
            raise FaultError("delay, trickle and late are seconds, 0 or more")
        if self.late and (self.carry_out or not (self.replaces or self.drop == "before")):
            raise FaultError("late needs status, body or drop='before', and excludes carry_out: else it happens twice")
        if self.route == WEBHOOK and set(self.to_json()) - {"route", "times", "patch", "body"}:
            raise FaultError("a fault at 'webhook' has patch or body, and perhaps times")
        for name, value in self.headers.items():
            if not all(isinstance(part, str) for part in (name, value)):
                raise FaultError(f"headers has {name!r}: {value!r}; both must be str")

    @property
    def replaces(self) -> bool:
        """Whether the fault replaces the ordinary response, which is then not computed."""
        return self.status is not None or self.body is not None

    def response(self, ordinary: Callable[[], Response]) -> Response:
        """Return the response to send; `ordinary` computes the one without a fault."""
        sent = self._own() if self.replaces else self._patched(ordinary())
        kind = self.content_type or sent.content_type
        return replace(sent, content_type=kind, headers={**sent.headers, **self.headers})

    def _own(self) -> Response:
        status = 200 if self.status is None else self.status
        if self.body is None:
            return Response(status, error_body(f"sandbox_{status}", f"The sandbox was told to answer {status}."))
        return Response(status, self.body.encode() if isinstance(self.body, str) else self.body, JSON)

    def _patched(self, ordinary: Response) -> Response:
        if not self.patch or ordinary.status != 200:
            return ordinary
        try:
            return replace(ordinary, body=patched(ordinary.body, self.patch))
        except PatchError as exc:
            return Response(500, error_body("sandbox_patch", str(exc)))

    @classmethod
    def from_json(cls, form: object) -> "Fault":
        """Read the JSON form: the fields by name, and `{"__absent__": true}` for `ABSENT`."""
        if not isinstance(form, dict):
            raise FaultError(f"a fault is a JSON object with any of {list(_KINDS)}, not {form!r}")
        if unknown := set(form) - set(_KINDS):
            raise FaultError(f"unknown field {sorted(unknown)}; allowed: {list(_KINDS)}")
        given = {name: value for name, value in form.items() if value is not None}
        if isinstance(given.get("patch"), dict):
            given["patch"] = {path: value_from_json(value) for path, value in given["patch"].items()}
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Write the JSON form, without defaults; bytes that are not UTF-8 are written in base64."""
        form = {
            f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) not in (None, 0, False, {})
        }
        if self.patch:
            form["patch"] = {path: value_to_json(value) for path, value in self.patch.items()}
        if isinstance(self.body, bytes):
            form["body"] = _shown(self.body)
        return form


def _check_kind(name: str, value: object, kinds: tuple[Any, ...]) -> None:
    nullable = name in ("match", "times", "hold", "status", "body", "content_type", "drop")
    if value is None and nullable:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        allowed = " or ".join(kind.__name__ for kind in kinds)
        raise FaultError(f"{name} is {value!r}; allowed: {allowed}{' or None' if nullable else ''}")


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise FaultError(f"unknown {name} {value!r}; allowed: {allowed}")


def _shown(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(body).decode()


class Faults:
    """The active faults, in the order added. The first that matches a request is used and counted down.

    Safe to call from any thread.
    """

    def __init__(self) -> None:
        self.gates = Gates()
        self._lock = threading.Lock()
        self._waiting: tuple[Fault, ...] = ()

    def add(self, *faults: Fault) -> None:
        """Add faults after the active ones, and close the gates at which they hold requests."""
        for fault in faults:
            if fault.hold is not None:
                self.gates.close(fault.hold)
        with self._lock:
            self._waiting += faults

    def clear(self) -> None:
        """Remove all faults and release every held request."""
        with self._lock:
            self._waiting = ()
        self.gates.open_all()

    def pending(self) -> tuple[Fault, ...]:
        """Return the active faults; `times` is the number of requests that remain of each."""
        return self._waiting

    def take(self, route: str, ident: str) -> Fault | None:
        """Return the fault that applies to a request, if any, and count it down."""
        if not self._waiting:  # the ordinary case takes no lock
            return None
        with self._lock:
            for index, fault in enumerate(self._waiting):
                is_there = fault.route == route or (fault.route == "*" and route != WEBHOOK)
                if is_there and fault.match in (None, ident):
                    self._count_down(index, fault)
                    return fault
        return None

    def change_event(self, body: bytes) -> bytes:
        """Return the body of an event as the fault for the next one changes it."""
        fault = self.take(WEBHOOK, "")
        return body if fault is None else fault.response(lambda: Response(body=body)).body

    def _count_down(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        left = () if fault.times == 1 else (replace(fault, times=fault.times - 1),)
        self._waiting = (*self._waiting[:index], *left, *self._waiting[index + 1 :])
