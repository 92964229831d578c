"""The shapes of bodies: what the contract says of each object in a body, by the place where the object is.

They are made once from the contract, so that to compare a value is to look up its field and its class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.upstream.contract import ENUMERATIONS, TYPES, Certainty, Field
from gateway.upstream.contract.model import Format


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One kind of object at one place of a body; it is compared by identity."""

    path: str
    members: Mapping[str, "Member"]
    identified: bool
    is_open: bool
    usual: frozenset[str]
    """The fields that some response has to have."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a field, or each item of its list, may be. ``plain`` is its class, if every value of that class fits."""

    path: str
    is_list: bool
    expected: str
    plain: type | None
    fits: Callable[[Any], bool]
    shape: Shape | None
    enumeration: str | None


_OF_FAILURES = ("Errors", "Error")  # which of their fields are there is no matter
_TYPE_NAMES = {dict: "object", list: "list", str: "str", int: "int", float: "float", bool: "bool", type(None): "null"}
PLAIN: Mapping[str, type] = {"str": str, "bool": bool, "object": dict}
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: value.__class__ is str,
    "bool": lambda value: value.__class__ is bool,
    "object": lambda value: value.__class__ is dict,
    "any": lambda _value: True,
}


def type_of(value: Any) -> str:
    """Return the name of a JSON value's type; of an integer that has more than 32 bits, ``int64``."""
    name = _TYPE_NAMES[type(value)]
    return "int64" if name == "int" and not _is_int32(value) else name


@cache
def shape_of(name: str) -> Shape:
    """Return the shape of the body that is an object of this type of the contract."""
    return _shape(name, "")


def _shape(name: str, path: str) -> Shape:
    of = TYPES[name]
    members = {each.name: _member(each, below(path, each.name)) for each in of.fields}
    usual = (each.name for each in of.fields if each.certainty is not Certainty.UNKNOWN and name not in _OF_FAILURES)
    excluded = {"id"} if of.identified else set()  # it is found in each object that lacks it
    return Shape(path, members, of.identified, of.is_open, frozenset(usual) - excluded)


def _member(field: Field, path: str) -> Member:
    path = f"{path}[]" if field.is_list else path
    kind = field.of
    plain = None if field.is_list else PLAIN.get(kind)
    if kind in TYPES:
        return Member(path, field.is_list, kind, None, _FITS["object"], _shape(kind, path), None)
    if kind in ENUMERATIONS:
        return Member(path, field.is_list, kind, None, _is_open_value, None, kind)
    if kind == "int":
        fits = _is_int if field.format is Format.INT64 else _is_int32
        return Member(path, field.is_list, "int64" if fits is _is_int else kind, None, fits, None, None)
    return Member(path, field.is_list, kind, plain, _FITS[kind], None, None)


def _is_open_value(value: Any) -> bool:
    return value.__class__ is str or value.__class__ is int


def _is_int(value: Any) -> bool:
    return value.__class__ is int


def _is_int32(value: Any) -> bool:
    return value.__class__ is int and -(2**31) <= value < 2**31


def below(path: str, name: str) -> str:
    """Return the path of a field of the object at ``path``."""
    return f"{path}.{name}" if path else name
