"""Turns a report of drift into faults: then the sandbox differs from the contract as the real REST API does.

The report is JSON that `gochat-gateway check --drift` writes. It has types and no values, so the values are invented.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec

from gateway.sandbox.faults.fault import WEBHOOK, Fault, FaultError
from gateway.sandbox.faults.patch import ABSENT, patched

_INVENTED: Final[Mapping[str, object]] = {
    "absent": ABSENT,
    "null": None,
    "empty": "",
    "bool": True,
    "int": 1_234_567,
    "int64": 2**40,
    "float": 0.5,
    "str": "an invented value",
    "list": [],
    "object": {},
}
_NO_JSON: Final = {"html": "<html>an invented page</html>", "nothing": "", "text": "an invented text"}
_ERROR: Final[Mapping[str, object]] = {
    "code": "invented",
    "message": "",
    "deprecated": False,
    "will_be_deprecated": False,
}
_MANY: Final = 101
_ROOT: Final = "$"
_OTHER_NAME: Final = "*"
_NO_ID: Final = False
_NOT_UNDERSTOOD: Final = "not a JSON object"


_Kind = Literal[
    "unknown_field",
    "missing_field",
    "wrong_type",
    "missing_id",
    "new_enum_value",
    "unknown_status",
    "error_shape",
    "not_json",
    "pagination",
    "webhook_shape",
]


class _Difference(msgspec.Struct, frozen=True):
    kind: _Kind
    route: str
    path: str
    came: str
    status: int | None = None


class _Report(msgspec.Struct, frozen=True):
    drift: list[_Difference]


def faults_of_drift(report: bytes) -> list[Fault]:
    """Return faults that cause the differences of a report.

    All that change the ordinary response of a route are one fault. Where another body or status takes its place, that
    fault applies once, unless it is the only one of its route. Raises FaultError: it is no report.
    """
    try:
        differences = msgspec.json.decode(report, type=_Report).drift
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise FaultError(f"it is no report of `check --drift`: {exc}") from exc
    patches: dict[str, dict[str, object]] = {}
    others: dict[str, list[Fault]] = {}
    for each in differences:
        fault = _replacing(each)
        if fault is None:
            patches.setdefault(each.route, {}).update(_patch(each))
        else:
            others.setdefault(each.route, []).append(fault)
    for route, patch in patches.items():
        others.setdefault(route, []).append(Fault(route, patch=patch))
    return [each for faults in others.values() for each in _in_turn(faults)]


def _in_turn(faults: list[Fault]) -> Iterable[Fault]:
    *earlier, last = faults
    return [*(replace(each, times=1) for each in earlier), last]


def _invented(came: str, of: Mapping[str, Any] = _INVENTED) -> Any:
    if came not in of:
        raise FaultError(f"it is no report of `check --drift`: {came!r} is none of {list(of)}")
    return of[came]


def _replacing(difference: _Difference) -> Fault | None:
    """Return the fault of a difference that concerns the whole response; None for one inside a body."""
    match difference:
        case _Difference("unknown_status", route, _, came):
            return Fault(route, status=_status(came))
        case _Difference("not_json", route, _, came, status):
            return Fault(route, status=status, body=_invented(came, _NO_JSON), content_type="text/html")
        case _Difference("error_shape", route, path, came, status):
            return Fault(route, status=status, body=_error(path, came))
        case _Difference("wrong_type", route, "$", came):
            return Fault(route, body=msgspec.json.encode(_invented(came)))
        case _Difference("webhook_shape", _, code, shape):
            return Fault(WEBHOOK, body=_event(code, shape))
    return None


def _status(came: str) -> int:
    if not came.isdecimal():
        raise FaultError(f"it is no report of `check --drift`: {came!r} is no status")
    return int(came)


def _error(path: str, came: str) -> bytes:
    if path == _ROOT:
        return msgspec.json.encode(_invented(came))
    body = msgspec.json.encode({"errors": [_ERROR]})
    value = [] if (path, came) == ("errors", "empty") else _invented(came)
    return patched(body, {_steps(path): value})


def _event(code: str, shape: str) -> bytes:
    """Return an event with the keys of one that was not understood. It has no ids."""
    if shape == _NOT_UNDERSTOOD:
        return b"an invented text"
    event: dict[str, Any] = {}
    for path in filter(None, shape.split(", ")):
        place: Any = event
        *parents, last = path.split(".")
        for step in parents:
            place = _inside(place, step)
        place.setdefault(last, _NO_ID)
    return msgspec.json.encode(event if code == _OTHER_NAME else {**event, "event_code": code})


def _inside(place: dict[str, Any], step: str) -> dict[str, Any]:
    """Return the object at a key; of a list a new item, because items may differ. It is made where there is none."""
    key = step.removesuffix("[]")
    if key == step:
        if not place.get(key):
            place[key] = {}
        known: dict[str, Any] = place[key]
        return known
    inside: dict[str, Any] = {}
    item: Any = inside
    while key.endswith("[]"):
        key, item = key.removesuffix("[]"), [item]
    place[key] = [*(place.get(key) or []), item]
    return inside


def _patch(difference: _Difference) -> dict[str, object]:
    steps = _steps(difference.path)
    match difference:
        case _Difference("pagination", _, path, "more"):
            return {path: [{"id": f"invented-{number}"} for number in range(_MANY)], "total": _MANY}
        case _Difference("pagination", _, _, "fewer"):
            return {"total": 1_000_000}
        case _Difference("pagination", _, _, "less"):
            return {"total": 0}
        case _Difference("pagination", _, _, "repeated"):
            return {steps: "invented"}
    return {steps: _invented(difference.came)}


def _steps(path: str) -> str:
    """Return the path of a patch for a path of a report: ``customers[].id`` is ``customers.*.id``."""
    return path.replace("[]", ".*")
