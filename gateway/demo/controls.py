"""Lets the page of the demo control its sandbox: faults, webhooks, and a thread that changes.

It stands in front of the gateway, so that no other gateway has it, and none of the gateway's settings opens it: a
request that a page of another site may have sent is refused, also where GATEWAY_CORS_ORIGINS names that site.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.sandbox import Fault, Sandbox, Target, Webhooks
from gateway.settings import CsrfMode
from gateway.web.request import HttpError
from gateway.web.security.csrf import CsrfProtection

SANDBOX_PATH: Final = "/demo/sandbox"
WATCHED: Final = "th-1"
"""The thread that changes at a click."""

_CUSTOMER: Final = "cu-1"
_STATUSES: Final = ("Waiting", "Closed", "Open")
_MOST_BYTES: Final = 1024
_READS: Final = ("thread", "messages", "customer")
_ROUTES: Final = (*_READS, "update_thread", "message", "chat_token")
_WRONG_TYPES: Final[Mapping[str, Mapping[str, object]]] = {
    "thread": {"message_count": "many", "status": [3]},
    "messages": {"total": "many", "messages.*.priority": "high"},
    "customer": {"customer.kyc_level": "high"},
}


@dataclass(frozen=True, slots=True)
class FaultChoice:
    """What the REST API can be made to do; the login is spared, since a wrong one locks the account."""

    says: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryChoice:
    """How webhooks get to the gateway; the fields are those of the sandbox's `Target`."""

    says: str
    copies: int = 1
    delay: float = 0.0
    reorder: int = 1

    def applied_to(self, target: Target) -> Target:
        """Return the same target, to which webhooks get in this way."""
        return msgspec.structs.replace(target, copies=self.copies, delay=self.delay, reorder=self.reorder)


@dataclass(frozen=True, slots=True)
class WebhookChoice:
    """A webhook that can be posted although nothing changed."""

    says: str
    post: Callable[[Webhooks], None]


def _at(routes: tuple[str, ...], **fault: Any) -> tuple[Fault, ...]:
    return tuple(Fault(route, **fault) for route in routes)


FAULTS: Final = {
    "none": FaultChoice("The REST API works."),
    "404": FaultChoice("Everything is answered 404: there is no such thing.", _at(_ROUTES, status=404)),
    "429": FaultChoice(
        "Everything is answered 429: try again in a second.", _at(_ROUTES, status=429, headers={"retry-after": "1"})
    ),
    "503": FaultChoice("Everything is answered 503: out of order.", _at(_ROUTES, status=503)),
    "slow": FaultChoice("Every response comes 3 seconds late.", _at(_ROUTES, delay=3)),
    "dropped": FaultChoice("Every connection is lost in the middle of the response.", _at(_ROUTES, drop="mid-body")),
    "wrong type": FaultChoice(
        "Some fields have a value of another type.",
        tuple(Fault(route, patch=patch) for route, patch in _WRONG_TYPES.items()),
    ),
    "drift": FaultChoice(
        "There is a field that the contract does not have. The demo's terminal names it.",
        _at(_READS, patch={"sentiment": "calm"}),
    ),
}
"""By name."""

DELIVERIES: Final = {
    "ordinary": DeliveryChoice("Each event is posted once, at once."),
    "doubled": DeliveryChoice("Each event is posted twice.", copies=2),
    "reordered": DeliveryChoice("Two events wait for each other, and the second is posted first.", reorder=2),
    "delayed": DeliveryChoice("Each event is posted 5 seconds late.", delay=5.0),
    "lost": DeliveryChoice("No event is posted: what is watched is read again every 15 seconds.", copies=0),
}
"""By name."""

WEBHOOKS: Final = {
    "thread_updated": WebhookChoice(
        f"The thread {WATCHED} was changed.", lambda webhooks: webhooks.thread_changed(WATCHED, "web")
    ),
    "thread_message_updated": WebhookChoice(
        f"A message of the thread {WATCHED} was changed.",
        lambda webhooks: webhooks.message_added(WATCHED, "m-1", "web"),
    ),
    "customers_updated": WebhookChoice(
        f"The customer {_CUSTOMER} was changed.",
        lambda webhooks: webhooks.customer_changed(_CUSTOMER, _CUSTOMER, "web"),
    ),
}
"""By event code."""


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What the page asks for."""

    fault: str | None = None
    delivery: str | None = None
    webhook: str | None = None
    change: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is none."""
        for what, known in (("fault", FAULTS), ("delivery", DELIVERIES), ("webhook", WEBHOOKS)):
            name = getattr(self, what)
            if name is not None and name not in known:
                raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(known)}")


class SandboxControls:
    """The gateway, and a path in front of it with which a page controls the sandbox.

    A GET returns the choices and which of them are in force. A POST makes choices, such as ``{"fault": "503"}``.
    """

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox
        self._statuses = cycle(_STATUSES)
        self._csrf = CsrfProtection(CsrfMode.STRICT, ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] != SANDBOX_PATH:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._respond(Request(scope, receive))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in {"GET", "POST"}:
            return _refused(405, "Use GET or POST.", {"allow": "GET, POST"})
        try:
            self._csrf.check(request.headers)
            if request.method == "POST":
                self._make(msgspec.json.decode(await _body(request), type=_Wanted))
        except HttpError as exc:
            return _refused(exc.status, exc.error.message)
        except ValueError as exc:  # msgspec's errors are, too
            return _refused(422, str(exc))
        return _json(self._state())

    def _make(self, wanted: _Wanted) -> None:
        sandbox = self._sandbox
        if wanted.fault is not None:
            sandbox.faults.clear()
            sandbox.faults.add(*FAULTS[wanted.fault].faults)
        if wanted.delivery is not None:
            self._deliver(DELIVERIES[wanted.delivery])
        if wanted.webhook is not None:
            WEBHOOKS[wanted.webhook].post(sandbox.webhooks)
        if wanted.change:
            sandbox.store.change_thread(WATCHED, {"status": next(self._statuses)})

    def _deliver(self, chosen: DeliveryChoice) -> None:
        target = self._sandbox.webhooks.target
        if target is None:
            raise ValueError("the sandbox sends no webhooks")
        self._sandbox.webhooks.send_to(chosen.applied_to(target))

    def _state(self) -> dict[str, object]:
        pending, target = self._sandbox.faults.pending(), self._sandbox.webhooks.target
        ways = {name for name, each in DELIVERIES.items() if target is not None and each.applied_to(target) == target}
        return {
            "faults": [{"name": name, "says": each.says} for name, each in FAULTS.items()],
            "deliveries": [{"name": name, "says": each.says} for name, each in DELIVERIES.items()],
            "webhooks": [{"name": name, "says": each.says} for name, each in WEBHOOKS.items()],
            # Null where somebody has chosen something else, by the sandbox's own routes.
            "fault": next((name for name, each in FAULTS.items() if each.faults == pending), None),
            "delivery": next(iter(ways), None),
        }


async def _body(request: Request) -> bytes:
    """Return the body; ValueError for one that is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise ValueError(f"the body has more than {_MOST_BYTES} bytes")
    return body


def _json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def _refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"error": message}, status, headers)
