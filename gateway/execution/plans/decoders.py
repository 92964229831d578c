"""The part of an upstream document that a plan reads, and the msgspec types that decode it and nothing else.

The types are strict: a value that is not exactly what the schema promises fails to decode, and the plan stands aside.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
)

from gateway.execution.selection import NotPlannable
from gateway.schema.scalars import WIRE_TYPES

_TEXT = GraphQLString


def _wire(graphql_type: GraphQLOutputType) -> Any:
    nullable = graphql_type.of_type if isinstance(graphql_type, GraphQLNonNull) else graphql_type
    return WIRE_TYPES.get(str(nullable))


def attribute(key: str) -> str:
    """Return the attribute that holds the value at ``key``: never a keyword, never a name of msgspec's own."""
    if not key.isidentifier():
        raise NotPlannable("a key that is no identifier")
    return f"{key}_"


@dataclass(slots=True)
class Shape:
    """A JSON object of a document: the keys that are read of it, each with its GraphQL type and, of objects, its shape.

    Several response keys can read the same key, so a shape is the union of what they read. The items of ``raw_lists``
    are left as they are, for a decoder of `item`.
    """

    types: dict[str, GraphQLOutputType] = field(default_factory=dict)
    below: dict[str, "Shape"] = field(default_factory=dict)
    raw_lists: set[str] = field(default_factory=set)

    def read(self, key: str, graphql_type: GraphQLOutputType) -> "Shape":
        """Note that ``key`` is read as ``graphql_type``; return the shape of the objects there."""
        known = self.types.get(key, graphql_type)
        if known is _TEXT and _wire(graphql_type) is str:
            known = graphql_type
        if str(known) != str(graphql_type):
            raise NotPlannable("a key that is read as two types")
        self.types[key] = known
        return self.below.setdefault(key, Shape())

    def read_text(self, key: str) -> None:
        """Note that ``key`` is read as a text that may be missing, whatever else it is read as."""
        if _wire(self.types.setdefault(key, _TEXT)) is not str:
            raise NotPlannable("a key that is read as two types")

    def struct(self) -> type[msgspec.Struct]:
        """Return the type that decodes an object of this shape."""
        fields = [(attribute(key), *self._annotation(key, of)) for key, of in self.types.items()]
        return msgspec.defstruct(
            "Record",
            fields,
            kw_only=True,
            gc=False,  # what JSON decodes to has no cycles
            rename={attribute(key): key for key in self.types},
        )

    def item(self, key: str) -> Any:
        """Return the type that decodes an item of the list at ``key``."""
        of: Any = self.types[key]
        item = (of.of_type if isinstance(of, GraphQLNonNull) else of).of_type
        if isinstance(item, GraphQLNonNull):
            return self._required(key, item.of_type)
        return self._type(key, item) | None

    def _annotation(self, key: str, graphql_type: GraphQLOutputType) -> tuple[Any] | tuple[Any, None]:
        """Return the type of a value and its default: a value is None where it is null or absent."""
        if isinstance(graphql_type, GraphQLNonNull):
            inner = graphql_type.of_type
            return self._annotation(key, inner) if isinstance(inner, GraphQLList) else (self._required(key, inner),)
        return self._nullable(key, graphql_type), None

    def _nullable(self, key: str, graphql_type: Any) -> Any:
        if not isinstance(graphql_type, GraphQLList):
            return self._type(key, graphql_type) | None
        item = msgspec.Raw if key in self.raw_lists else self.item(key)
        return list[item] | None  # type: ignore[valid-type]  # a type made at run time

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
