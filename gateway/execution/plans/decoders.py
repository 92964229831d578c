"""The fields that a plan reads of a REST body, and the msgspec decoders that decode those fields and no others.

The types are strict. A value that is not exactly of its type in the schema fails to decode, and the plan stands aside.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    get_nullable_type,
)

from gateway.execution.selection import NotPlannable
from gateway.schema.resolvers.cooperative import YIELD_BYTES
from gateway.schema.scalars import WIRE_TYPES

_TEXT = GraphQLString


def _wire(graphql_type: GraphQLOutputType) -> Any:
    return WIRE_TYPES.get(str(get_nullable_type(graphql_type)))


def attribute(key: str) -> str:
    """Return the attribute that holds the value at ``key``. It is never a keyword or a name of msgspec's own."""
    if not key.isidentifier():
        raise NotPlannable("a key that is no identifier")
    return f"{key}_"


@dataclass(slots=True)
class RecordFields:
    """The keys that a plan reads of a JSON object, each with its GraphQL type and, of objects, the fields below.

    Several response keys can read the same key, so this is the union of what they read. The items of ``raw_lists``
    are not decoded with the object: each is decoded by the decoder that `item` returns.
    """

    types: dict[str, GraphQLOutputType] = field(default_factory=dict)
    below: dict[str, "RecordFields"] = field(default_factory=dict)
    raw_lists: set[str] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    """How many response keys read each key."""

    def read(self, key: str, graphql_type: GraphQLOutputType) -> "RecordFields":
        """Add ``key``, which is read as ``graphql_type``; return the fields of the objects there."""
        known = self.types.get(key, graphql_type)
        if known is _TEXT and _wire(graphql_type) is str:
            known = graphql_type
        if str(known) != str(graphql_type):
            raise NotPlannable("a key that is read as two types")
        self.types[key] = known
        self.reads[key] += 1
        return self.below.setdefault(key, RecordFields())

    def read_also(self, key: str, graphql_type: GraphQLOutputType) -> None:
        """Add ``key``, which a link reads as ``graphql_type`` and may be missing, whatever else it is read as."""
        if _wire(self.types.setdefault(key, graphql_type)) is not _wire(graphql_type):
            raise NotPlannable("a key that is read as two types")

    @property
    def repeats(self) -> int:
        """How many times the response has a value of the body at most."""
        of_leaves = (self.reads[key] for key, below in self.below.items() if not below.types)
        return max((*of_leaves, *(below.repeats for below in self.below.values())), default=0)

    def struct(self) -> type[msgspec.Struct]:
        """Return the type that decodes an object with these fields."""
        return _record(tuple((key, *self._annotation(key, of)) for key, of in self.types.items()))

    def item(self, key: str) -> Any:
        """Return the type that decodes an item of the list at ``key``."""
        of: Any = get_nullable_type(self.types[key])
        if isinstance(of.of_type, GraphQLNonNull):
            return self._required(key, of.of_type.of_type)
        return self._type(key, of.of_type) | None

    def _annotation(self, key: str, graphql_type: GraphQLOutputType) -> tuple[Any] | tuple[Any, None]:
        """Return the type of a value and its default: a value that is null or absent is None."""
        nullable = get_nullable_type(graphql_type)
        if isinstance(nullable, GraphQLList):
            item = msgspec.Raw if key in self.raw_lists else self.item(key)
            return list[item] | None, None  # type: ignore[valid-type]  # a type that is built at run time
        if isinstance(graphql_type, GraphQLNonNull):
            return (self._required(key, nullable),)
        return self._type(key, nullable) | None, None

    def _required(self, key: str, graphql_type: Any) -> Any:
        kind = self._type(key, graphql_type)
        if kind is Any:
            raise NotPlannable("a value that may be anything but null")
        return kind

    def _type(self, key: str, graphql_type: Any) -> Any:
        if isinstance(graphql_type, GraphQLScalarType):
            if graphql_type.name not in WIRE_TYPES:
                raise NotPlannable(f"the scalar {graphql_type.name}")
            return WIRE_TYPES[graphql_type.name]
        if isinstance(graphql_type, GraphQLObjectType):
            return self.below[key].struct()
        raise NotPlannable("a type that is neither scalar nor object")


@lru_cache(maxsize=256)  # as for what is written, see `gateway.execution.plans.codegen`
def _record(fields: tuple[tuple[str, Any] | tuple[str, Any, None], ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        "Record",
        [(attribute(key), *rest) for key, *rest in fields],
        kw_only=True,
        gc=False,  # what JSON decodes to has no cycles
        rename={attribute(key): key for key, *_ in fields},
    )


def build_items(
    items: Sequence[msgspec.Raw],
    decoder: msgspec.json.Decoder[Any],
    build: Callable[[Any], Any],
    gaps: Sequence[object],
) -> Generator[None, None, list[Any]]:
    """Decode the items of a long list and return what ``build`` makes of each; yield after some bytes.

    An item is encoded at once, unless ``gaps`` has grown: then a REST call will fill in a part of it.
    """
    built: list[Any] = []
    size = 0
    for item in items:
        known = len(gaps)
        value = build(decoder.decode(item))
        built.append(value if len(gaps) > known else msgspec.Raw(msgspec.json.encode(value)))
        size += len(memoryview(item))
        if size >= YIELD_BYTES:
            size = 0
            yield
    return built
