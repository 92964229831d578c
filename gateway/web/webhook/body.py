"""Reads the body of a webhook: which threads and customers it names, and nothing else.

The shape of most bodies is not documented. So ids are looked for wherever they plausibly are, and a body in which one
is missing counts as unknown: then anything may have changed. An unknown shape is described by the paths of its keys,
without any value.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from gateway.events import Event
from gateway.schema.scalars import is_int64

MOST_IDS = 100
"""The ids that one event may have. With more, everything counts as changed."""

_MOST_PARTS = 1000
"""How many objects and ids are looked at: a body can hold 87,000, for which nobody else should wait."""

_LONGEST_ID = 256
_LONGEST_TEXT = 100
_NOT_JSON = ("not a JSON object",)
# A key that looks like a name. Another one may be a value, such as an id, and is not shown.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_MOST_PATHS = 60
_DEEPEST = 6


class Reading(NamedTuple):
    """What was read: the event, what names it, and the shape of a body that was not understood."""

    event: Event
    identity: tuple[str, str, str] | None
    """The code, the id and the date, which the same event always has; None where one is missing."""
    unknown: tuple[str, ...] | None
    """The paths of the body's keys; None where every id was found."""


def read_event(body: bytes, taken_at: float) -> Reading:
    """Return what the body of a webhook says; ``taken_at`` is in seconds since 1970."""
    document = _decoded(body)
    if document is None:
        return Reading(Event(everything=True, taken_at=taken_at), None, _NOT_JSON)
    code, ident, date = (_text(document.get(key)) for key in ("event_code", "event_id", "event_date"))
    found = _Ids()
    found.read(document.get("data", document))
    is_known = found.is_complete and 0 < len(found.threads) + len(found.customers) <= MOST_IDS
    event = Event(
        tuple(found.threads) if is_known else (),
        tuple(found.customers) if is_known else (),
        everything=not (is_known or found.is_irrelevant),
        code=code,
        date=date,
        source=_text(document.get("event_source")),
        taken_at=taken_at,
    )
    identity = (code, ident, date) if code and ident and date else None
    return Reading(event, identity, shape_of(document) if event.everything else None)


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(value: Any) -> str | None:
    """Return a short text, or the digits of a number."""
    if isinstance(value, int) and not isinstance(value, bool) and is_int64(value):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable() else None


def _id(value: Any) -> str | None:
    if isinstance(value, str):
        return value if 0 < len(value) <= _LONGEST_ID else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and is_int64(value) else None


class _Ids:
    """Collects ids. It is complete while each thing that was found has one."""

    def __init__(self) -> None:
        self.threads: dict[str, None] = {}
        self.customers: dict[str, None] = {}
        self.is_complete = True
        self.without_external_id = 0
        self._left = _MOST_PARTS

    @property
    def is_irrelevant(self) -> bool:
        """Whether only customers without an external id were found: nothing is known of them by any other id."""
        return self.is_complete and self.without_external_id > 0 and not self.threads and not self.customers

    def read(self, data: Any) -> None:
        """Look for ids in the event's data, an object or a list of them."""
        for part in self._each(data if isinstance(data, list) else [data]):
            if isinstance(part, dict):
                self._read_object(part)
            else:
                self.is_complete = False

    def _each(self, parts: Iterable[Any]) -> Iterator[Any]:
        """Yield what there is to look at, until something has no id: then the rest makes no difference."""
        for part in parts:
            self._left -= 1
            if self._left < 0:
                self.is_complete = False
            if not self.is_complete:
                return
            yield part

    def _read_object(self, data: dict[str, Any]) -> None:
        if "thread_id" in data:
            self._thread(data["thread_id"])
        for thread in self._each((*_items(data, "thread"), *_items(data, "threads"), *_items(data, "thread_ids"))):
            self._thread(_first(thread, "thread_id", "id") if isinstance(thread, dict) else thread)
        for message in self._each((*_items(data, "message"), *_items(data, "messages"))):
            self._message(message, is_in_thread=bool(self.threads))
        for customer in self._each((*_items(data, "customer"), *_items(data, "customers"))):
            self._customer(customer)

    def _message(self, message: Any, *, is_in_thread: bool) -> None:
        if not isinstance(message, dict):
            self.is_complete = self.is_complete and is_in_thread
        elif "thread_id" in message or not is_in_thread:
            thread = message.get("thread")
            inside = _first(thread, "thread_id", "id") if isinstance(thread, dict) else thread
            self._thread(message.get("thread_id", inside))

    def _thread(self, value: Any) -> None:
        ident = _id(value)
        if ident is None:
            self.is_complete = False
        else:
            self.threads[ident] = None

    def _customer(self, customer: Any) -> None:
        ident = _id(customer.get("external_id")) if isinstance(customer, dict) else None
        if ident is not None:
            self.customers[ident] = None
        elif isinstance(customer, dict) and customer.get("external_id") in (None, "") and "customer_id" in customer:
            self.without_external_id += 1
        else:
            self.is_complete = False


def _items(data: dict[str, Any], key: str) -> Iterable[Any]:
    value = data.get(key)
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _first(record: dict[str, Any], *keys: str) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def shape_of(document: Any) -> tuple[str, ...]:
    """Return the paths of the keys, such as ``data.threads[].id``, sorted; a limited number of them."""
    found: set[str] = set()
    for path in _paths(document, "", 0):
        found.add(path)
        if len(found) >= _MOST_PATHS:
            break
    return tuple(sorted(found))


def _paths(value: Any, path: str, depth: int) -> Iterator[str]:
    if depth >= _DEEPEST:
        return
    if isinstance(value, list):
        for item in value[:MOST_IDS]:
            yield from _paths(item, f"{path}[]", depth + 1)
    elif isinstance(value, dict):
        for key, inner in value.items():
            name = key if _NAME.fullmatch(key) else "*"
            below = f"{path}.{name}" if path else name
            yield below
            yield from _paths(inner, below, depth + 1)
