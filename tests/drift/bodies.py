"""Bodies as the contract has them, and the same with one difference whose place and kind are known."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from gateway.upstream.contract import ENUMERATIONS, TYPES, Field, Route
from gateway.upstream.contract.model import Format
from gateway.upstream.drift.comparison import Drift, DriftKind, Sample

TEXTS = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXTS,
    "int": st.integers(-(2**31), 2**31 - 1),
    "bool": st.booleans(),
    "object": st.dictionaries(TEXTS, TEXTS | st.integers(), max_size=2),
    "any": st.recursive(st.none() | TEXTS | NUMBERS, lambda inner: st.lists(inner, max_size=2)),
}
OF_ANOTHER_TYPE = {
    "str": (7, "int"),
    "int": ("7", "str"),
    "int64": ("7", "str"),
    "bool": ("true", "str"),
    "object": ([], "list"),
    "enumeration": (True, "bool"),
    "list": ({}, "object"),
}


@cache  # to make a strategy takes longer than to draw from it
def values(field: Field) -> st.SearchStrategy[Any]:
    """Return what a field may hold: often a value, sometimes null."""
    if field.of in TYPES:
        one: st.SearchStrategy[Any] = objects(field.of)
    elif field.of in ENUMERATIONS:
        published = ENUMERATIONS[field.of].values
        one = st.sampled_from(published) if published else TEXTS | st.integers()
    else:
        one = st.integers() if field.format is Format.INT64 else LEAVES[field.of]
    items = one if field.of == "any" else one.filter(lambda value: value is not None)
    return st.none() | (st.lists(items, max_size=2) if field.is_list else one)


@cache
def objects(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects of a type of the contract, with all of its fields."""
    return _objects(name)


@st.composite
def _objects(draw: st.DrawFn, name: str) -> dict[str, Any]:
    of = TYPES[name]
    record = {each.name: draw(values(each)) for each in of.fields}
    if of.identified:
        record["id"] = draw(st.uuids().map(str))
    if name == "MessagePage":
        record["total"] = len(record["messages"] or [])
    return record


def places(value: Any, name: str, path: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield each object of a body with the name of its type and its path."""
    yield value, name, path
    for each in TYPES[name].fields:
        if each.of in TYPES and value.get(each.name):
            items = value[each.name] if each.is_list else [value[each.name]]
            for item in items:
                below = f"{path}.{each.name}" if path else each.name
                yield from places(item, each.of, f"{below}[]" if each.is_list else below)


def expected_of(field: Field) -> str:
    """Return how the type of a field is named, without its list."""
    return "int64" if field.format is Format.INT64 else field.of


@st.composite
def with_one_difference(draw: st.DrawFn, route: Route) -> tuple[dict[str, Any], Drift]:
    """Return a body of a route with one difference, and the difference."""
    assert route.response is not None
    body = draw(objects(route.response))
    record, name, path = draw(st.sampled_from(list(places(body, route.response))))
    kinds = [DriftKind.WRONG_TYPE]
    kinds += [] if TYPES[name].is_open else [DriftKind.UNKNOWN_FIELD]
    kinds += [DriftKind.MISSING_ID] if TYPES[name].identified else []
    kind = draw(st.sampled_from(kinds))
    if kind is DriftKind.UNKNOWN_FIELD:
        field, expected = "a_field_of_tomorrow", "no such field"
        record[field], came = draw(st.sampled_from([(1, "int"), ("x", "str"), (None, "null"), ({"id": 1}, "object")]))
    elif kind is DriftKind.MISSING_ID:
        field, expected = "id", "str"
        came = draw(st.sampled_from(["absent", "null", "empty"]))
        record["id"] = None if came == "null" else ""
        if came == "absent":
            del record["id"]
    else:
        changed = draw(st.sampled_from([each for each in TYPES[name].fields if each.of != "any"]))
        field, expected = changed.name, expected_of(changed)
        expected = f"[{expected}]" if changed.is_list else expected
        record[field], came = OF_ANOTHER_TYPE[_form_of(changed)]
    below = f"{path}.{field}" if path else field
    return body, Drift(kind, route.name, below, expected, came, route.status)


def _form_of(field: Field) -> str:
    if field.is_list:
        return "list"
    if field.of in ENUMERATIONS:
        return "enumeration"
    return "object" if field.of in TYPES else expected_of(field)


def sample(route: Route, body: bytes, status: int | None = None, query: str = "") -> Sample:
    """Return a response of a route to be compared."""
    return Sample(route, f"/any{query}", route.status if status is None else status, body)
