"""Compares a response of the REST API with the contract, and finds every difference.

    response ─▶ status ─▶ JSON ─▶ object by object: fields, types, ids, values of enumerations ─▶ differences

A difference names a place and types, never a value. The exception is an enumeration whose values are not published:
a harmless value of one is what an operator needs to give it a name. One response can be large, so the objects are
compared one by one, until the time for it is over. Their order is random: what one response has no time for, another
has.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs

import msgspec

from gateway.clock import RANDOM
from gateway.upstream.contract import ENUMERATIONS, EVENTS, ROUTES, TYPES, Read, Route
from gateway.upstream.drift.shapes import PLAIN, Member, Shape, below, shape_of, type_of


class DriftKind(StrEnum):
    """What kind of difference it is: a closed set, because metrics have it as a label."""

    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    """A field that none of many responses had."""
    WRONG_TYPE = "wrong_type"
    MISSING_ID = "missing_id"
    NEW_ENUM_VALUE = "new_enum_value"
    UNKNOWN_STATUS = "unknown_status"
    ERROR_SHAPE = "error_shape"
    """An error whose body is not the documented list of errors."""
    NOT_JSON = "not_json"
    PAGINATION = "pagination"
    """A page that does not fit what was asked for, or its own total."""
    WEBHOOK_SHAPE = "webhook_shape"
    """An event whose ids were not found."""


WEBHOOK = "webhook"
"""Stands for a route where an event differs, not a response."""

STATUSES = frozenset({400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504})
"""The statuses of failures that the gateway expects. Which of them occur is unknown."""

ROOT = "$"
"""The path of a whole body."""

OTHER_NAME = "*"
"""Stands for a key that does not look like a name: it may be a value, such as an id."""

Known: TypeAlias = Mapping[str, frozenset[str | int]]
"""By enumeration, the values that are known. One that is not listed has no known values, and no new ones."""


class Drift(NamedTuple):
    """One difference. ``path`` is written with dots, and ``[]`` for every item of a list: ``customers[].id``."""

    kind: DriftKind
    route: str
    """The name of the route in the contract, or `WEBHOOK`."""
    path: str
    expected: str
    came: str
    """The type that came, or another word for what came; no value."""
    status: int | None = None
    """The HTTP status of the response; None for a webhook."""
    value: str | int | None = None
    """The value of an enumeration whose values are not published, if it is harmless. It is no part of a report."""


class Sample(NamedTuple):
    """A response that is to be compared. ``target`` is the path and the query string of its request."""

    route: Route
    target: str
    status: int
    body: bytes

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no content."""
        return f"Sample({self.route}, {self.status}, {len(self.body)} bytes)"


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_HARMLESS = re.compile(r"[A-Za-z0-9_ .:-]{1,32}", re.ASCII)
_MOST_DIGITS = 10**18
_MOST_DRIFTS = 100
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def harmless(value: str | int) -> str | int | None:
    """Return a value of an enumeration that may be shown, None for one that could be somebody's data."""
    if isinstance(value, int):
        return value if abs(value) < _MOST_DIGITS else None
    return value if _HARMLESS.fullmatch(value) else None


def name_or_other(key: str) -> str:
    """Return a key that looks like a name, `OTHER_NAME` for any other."""
    return key if _NAME.fullmatch(key) else OTHER_NAME


class Comparison:
    """Compares one response: `advance` it until it is over, and read what it has found.

    ``below`` returns a random number from 0 to below its argument.
    """

    def __init__(
        self, sample: Sample, known: Known | None = None, below: Callable[[int], int] = RANDOM.randrange
    ) -> None:
        self.absent: dict[Shape, set[str]] = {}
        """By the shapes of the objects that were there, the usual fields that none of the objects had."""
        self.values: dict[str, set[str | int]] = defaultdict(set)
        """The values that came, by enumeration."""
        self.undocumented: dict[str, str] = {}
        """The fields of objects that are known to have more fields, by path, with their types."""
        self._drifts: dict[tuple[DriftKind, str], Drift] = {}
        self.sample = sample
        self._known = known or {}
        self._below = below
        self._kind: DriftKind | None = None
        self._waiting: list[tuple[dict[str, Any], Shape]] = []
        self._begin(sample)

    @property
    def drifts(self) -> list[Drift]:
        """What was found so far, each kind and path once."""
        return list(self._drifts.values())

    def advance(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Compare objects until ``is_over``, at least one; return whether all were compared."""
        waiting = self._waiting
        while waiting:
            chosen = self._below(len(waiting))
            waiting[chosen], waiting[-1] = waiting[-1], waiting[chosen]
            self._compare(*waiting.pop())
            if is_over():
                break
        return not waiting

    def _begin(self, sample: Sample) -> None:
        status, route = sample.status, sample.route
        if status == route.status:
            if route.response is not None:
                self._begin_success(shape_of(route.response), sample)
            return
        if status not in STATUSES:
            expected = f"{route.status} or the status of a known failure"
            self._found(DriftKind.UNKNOWN_STATUS, ROOT, expected, str(status))
        if status >= 400:
            self._begin_failure(sample.body)

    def _begin_success(self, shape: Shape, sample: Sample) -> None:
        document = self._decoded(sample.body)
        if isinstance(document, dict):
            self._compare_page(document, sample.route)
            self._waiting.append((document, shape))
        elif document is not _NOTHING:
            self._found(DriftKind.WRONG_TYPE, ROOT, "object", type_of(document))

    def _begin_failure(self, body: bytes) -> None:
        document = self._decoded(body)
        if document is _NOTHING:
            return
        self._kind = DriftKind.ERROR_SHAPE
        if not isinstance(document, dict):
            self._found(DriftKind.ERROR_SHAPE, ROOT, "object", type_of(document))
            return
        entries = document.get("errors")
        if not entries:
            came = "empty" if entries == [] else "null" if "errors" in document else "absent"
            self._found(DriftKind.ERROR_SHAPE, "errors", "[Error]", came)
        elif isinstance(entries, list) and any(isinstance(each, dict) and "code" not in each for each in entries):
            self._found(DriftKind.ERROR_SHAPE, "errors[].code", "str", "absent")
        self._waiting.append((document, shape_of("Errors")))

    def _decoded(self, body: bytes) -> Any:
        try:
            document = msgspec.json.decode(body)
            if not body.isascii():
                body.decode()  # msgspec checks only the strings that it keeps
        except UNDECODABLE:
            self._found(DriftKind.NOT_JSON, ROOT, "JSON", _form_of(body))
            return _NOTHING
        return document

    def _compare(self, record: dict[str, Any], shape: Shape) -> None:
        members = shape.members
        for key, value in record.items():
            member = members.get(key)
            if member is None:
                self._unknown(shape, key, value)
            elif value.__class__ is member.plain or value is None:
                continue
            elif member.is_list:
                self._compare_list(value, member)
            else:
                self._compare_value(value, member)
        if shape.identified and record.get("id") in (None, ""):
            came = "absent" if "id" not in record else "null" if record["id"] is None else "empty"
            self._found(DriftKind.MISSING_ID, below(shape.path, "id"), "str", came)
        absent = self.absent.get(shape)
        if absent is None:
            self.absent[shape] = set(shape.usual.difference(record))
        elif absent:
            absent.difference_update(record)

    def _compare_list(self, value: Any, member: Member) -> None:
        if value.__class__ is not list:
            path = member.path.removesuffix("[]")
            self._found(DriftKind.WRONG_TYPE, path, f"[{member.expected}]", type_of(value))
            return
        plain = PLAIN.get(member.expected)
        for item in value:
            if item.__class__ is not plain:
                self._compare_value(item, member)

    def _compare_value(self, value: Any, member: Member) -> None:
        if not member.fits(value):
            self._found(DriftKind.WRONG_TYPE, member.path, member.expected, type_of(value))
        elif member.shape is not None:
            self._waiting.append((value, member.shape))
        elif member.enumeration is not None:
            self._compare_enumeration(value, member, member.enumeration)

    def _compare_enumeration(self, value: str | int, member: Member, name: str) -> None:
        self.values[name].add(value)
        known = self._known.get(name)
        if known and value not in known:
            shown = None if ENUMERATIONS[name].values else harmless(value)
            self._found(DriftKind.NEW_ENUM_VALUE, member.path, name, type_of(value), shown)

    def _compare_page(self, page: dict[str, Any], route: Route) -> None:
        """Compare a page with its query and its own total; wrong types are found elsewhere."""
        name = list_of(route)
        if name is None:
            return
        items = page.get(name)
        items = items if isinstance(items, list) else []
        idents = [each.get("id") for each in items if isinstance(each, dict)]
        if "total" not in page:
            self._found(DriftKind.PAGINATION, "total", "int", "absent")
        elif page["total"] is None or page["total"].__class__ is int:
            for path, expected, came in page_differences(self.sample, name, idents, page["total"]):
                self._found(DriftKind.PAGINATION, path, expected, came)

    def _unknown(self, shape: Shape, key: str, value: Any) -> None:
        path = below(shape.path, name_or_other(key))
        if not shape.is_open:
            self._found(DriftKind.UNKNOWN_FIELD, path, "no such field", type_of(value))
        elif len(self.undocumented) < _MOST_DRIFTS:
            self.undocumented[path] = type_of(value)

    def _found(self, kind: DriftKind, path: str, expected: str, came: str, value: str | int | None = None) -> None:
        if len(self._drifts) < _MOST_DRIFTS:
            if kind not in _OF_THE_WHOLE:
                kind = self._kind or kind
            sample = self.sample
            drift = Drift(kind, sample.route.name, path, expected, came, sample.status, value)
            self._drifts.setdefault((kind, path), drift)


_NOTHING = object()
_OF_THE_WHOLE = (DriftKind.UNKNOWN_STATUS, DriftKind.NOT_JSON)


class Absences:
    """Fields that none of many responses had. Each is found once, after ``enough`` responses in which it could be."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._seen: dict[tuple[str, Shape], int] = {}
        self._unseen: dict[tuple[str, Shape], set[str]] = {}

    def add(self, comparison: Comparison) -> list[Drift]:
        """Return what is found now, after a response that was compared wholly."""
        sample, found = comparison.sample, list[Drift]()
        for shape, absent in comparison.absent.items():
            place = sample.route.name, shape
            seen = self._seen[place] = self._seen.get(place, 0) + 1
            unseen = self._unseen.setdefault(place, set(shape.usual))
            unseen &= absent
            if seen >= self._enough and unseen:
                found += _missing(sample.route.name, shape, unseen)
                unseen.clear()
        return found

    def so_far(self) -> list[Drift]:
        """Return what none of the responses had, however few they were."""
        return [each for (route, shape), unseen in self._unseen.items() for each in _missing(route, shape, unseen)]


def _missing(route: str, shape: Shape, names: Iterable[str]) -> Iterator[Drift]:
    for name in sorted(names):
        member = shape.members[name]
        expected = f"[{member.expected}]" if member.is_list else member.expected
        yield Drift(DriftKind.MISSING_FIELD, route, below(shape.path, name), expected, "absent", ROUTES[route].status)


def list_of(route: Route) -> str | None:
    """Return the field with the list, of a route that has pages; None for any other."""
    if not isinstance(route, Read) or not route.query:
        return None
    return next(each.name for each in TYPES[str(route.response)].fields if each.is_list)


def page_differences(
    sample: Sample, name: str, idents: Sequence[Any], total: int | None
) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each difference of a page, what was expected, and a word for what came.

    ``name`` is the field with its list, and ``idents`` are the ids of the items.
    """
    query, count = _query(sample.target), len(idents)
    limit, offset = query.get("limit"), query.get("offset", 0)
    if limit is not None and count > limit:
        yield name, "at most as many as the limit", "more"
    if total is None:
        yield "total", "int", "null"
        return
    if count and offset + count > total:
        yield "total", "at least the offset and the items", "less"
    if limit is not None and count < min(limit, total - offset):
        yield name, "as many as the limit, or all that are left", "fewer"
    texts = [each for each in idents if isinstance(each, str)]
    if len(set(texts)) < len(texts):
        yield f"{name}[].id", "each id once", "repeated"


def _query(target: str) -> dict[str, int]:
    given = parse_qs(target.partition("?")[2])
    return {name: int(values[-1]) for name, values in given.items() if values[-1].isdecimal()}


def _form_of(body: bytes) -> str:
    """Return a word for a body that is no JSON."""
    beginning = body[:100].lstrip()
    if not body.strip():
        return "nothing"
    return "html" if beginning[:1] == b"<" else "text"


def webhook_drift(code: str | None, shape: Sequence[str]) -> Drift:
    """Return the difference of an event that was not understood, which has keys at these paths."""
    event = EVENTS.get(code or "")
    expected = " or ".join(f"data.{path}" for path in event.ids.paths) if event else "a known event"
    came = ", ".join(sorted(shape))
    return Drift(DriftKind.WEBHOOK_SHAPE, WEBHOOK, name_or_other(code or ""), expected, came)


def known_values(names: Mapping[str, Iterable[str | int]]) -> Known:
    """Return the known values: those that are documented, and by enumeration those that somebody else knows."""
    documented = {name: frozenset[str | int](each.values) for name, each in ENUMERATIONS.items() if each.values}
    return {**documented, **{name: frozenset(values) for name, values in names.items()}}
