"""Each kind of drift with a fault of the sandbox that causes it, and where it is found."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.sandbox import ABSENT, Fault
from gateway.upstream.drift.comparison import DriftKind


@dataclass(frozen=True, slots=True)
class Provoked:
    """A fault, and the path of the difference that it causes."""

    fault: Fault
    path: str
    came: str
    template: str


_THREAD = "/api/v1/thread/{id}"
_MESSAGES = "/api/v1/thread/{id}/messages"
_CUSTOMER = "/api/v1/customers/{customer_external_id}"

PROVOKED: Mapping[DriftKind, Provoked] = {
    DriftKind.UNKNOWN_FIELD: Provoked(Fault("thread", patch={"colour": "red"}), "colour", "str", _THREAD),
    DriftKind.MISSING_FIELD: Provoked(Fault("thread", patch={"updated_at": ABSENT}), "updated_at", "absent", _THREAD),
    DriftKind.WRONG_TYPE: Provoked(
        Fault("messages", patch={"messages.*.priority": "high"}), "messages[].priority", "str", _MESSAGES
    ),
    DriftKind.MISSING_ID: Provoked(
        Fault("messages", patch={"messages.0.id": ABSENT}), "messages[].id", "absent", _MESSAGES
    ),
    DriftKind.NEW_ENUM_VALUE: Provoked(Fault("thread", patch={"status": "archived"}), "status", "str", _THREAD),
    DriftKind.UNKNOWN_STATUS: Provoked(Fault("customer", status=418), "$", "418", _CUSTOMER),
    DriftKind.ERROR_SHAPE: Provoked(
        Fault("customer", status=422, body='{"error": "no"}'), "errors", "absent", _CUSTOMER
    ),
    DriftKind.NOT_JSON: Provoked(Fault("messages", body="<html>busy</html>"), "$", "html", _MESSAGES),
    DriftKind.PAGINATION: Provoked(Fault("messages", patch={"total": 0}), "total", "less", _MESSAGES),
    DriftKind.WEBHOOK_SHAPE: Provoked(
        Fault("webhook", patch={"data": {"thread": {"ref": "th-1"}}}),
        "thread_updated",
        "data, data.thread, data.thread.ref, event_code, event_date, event_id, event_source",
        "webhook",
    ),
}
