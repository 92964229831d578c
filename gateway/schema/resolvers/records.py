"""How a field is read from a REST body.

The REST API's JSON objects are the records that resolvers see: plain dicts, never instances of the Strawberry types,
which only declare the schema. A field without a resolver of its own reads the key of its Python name, and checks that
the value fits the field's GraphQL type. If it does not, it raises UpstreamInvalidResponse, so that one wrong value is
one error at its own path. A value that is absent or null is null, and an absent list is an empty list.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import msgspec
from graphql import (
    GraphQLField,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_nullable_type,
    is_leaf_type,
)

from gateway.compat.graphql_core import leaf_coercion, replace_resolver
from gateway.compat.strawberry import definition_of, field_name, has_resolver
from gateway.errors import UpstreamInvalidResponse
from gateway.schema.resolvers.cooperative import (
    LARGE_BYTES,
    YIELD_BYTES,
    LongList,
    decode_cooperatively,
    iterate_cooperatively,
    run_cooperatively,
)
from gateway.schema.scalars import UNAMBIGUOUS, is_int64

Record: TypeAlias = dict[str, Any]
"""One JSON object of the REST API, keys as the REST API writes them."""

Check: TypeAlias = Callable[[Any], Any]
"""Returns an upstream value that fits a GraphQL type, or raises UpstreamInvalidResponse."""


class RestBody:
    """The body of one REST response. It is kept as bytes, and decoded once, when a value is read.

    A body of ``large_bytes`` or more is processed cooperatively.
    """

    __slots__ = ("_large_bytes", "_record", "content")

    def __init__(self, content: bytes, large_bytes: int = LARGE_BYTES) -> None:
        self.content = content
        self._large_bytes = large_bytes
        self._record: Record | None = None

    @property
    def is_large(self) -> bool:
        """Whether it has to be processed cooperatively."""
        return len(self.content) >= self._large_bytes

    async def record(self) -> Record:
        """Return the decoded body; raise UpstreamInvalidResponse if it is not a JSON object."""
        if self._record is None:
            self._record = await self._decode_cooperatively() if self.is_large else decode_object(self.content)
        return self._record

    async def _decode_cooperatively(self) -> Record:
        decoding = decode_cooperatively(self.content, min(self._large_bytes, YIELD_BYTES))
        with _json_errors():
            return _require_object(await run_cooperatively(decoding))


def decode_object(content: bytes) -> Record:
    """Return the JSON object in ``content``; raise UpstreamInvalidResponse if there is none."""
    with _json_errors():
        return _require_object(msgspec.json.decode(content))


@contextmanager
def _json_errors() -> Iterator[None]:
    """Raise UpstreamInvalidResponse for a body that cannot be decoded."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamInvalidResponse("The REST API's answer is not JSON.") from exc


def _require_object(value: Any) -> Record:
    if not isinstance(value, dict):
        raise UpstreamInvalidResponse("The REST API's answer is not a JSON object.")
    return value


def read_object(record: Record, key: str) -> Record | None:
    """Return the object at ``key``, None if there is none; raise UpstreamInvalidResponse for another type."""
    return _object(record.get(key))  # type: ignore[no-any-return]  # _object checks it


def read_text(record: Record, key: str) -> str | None:
    """Return the text at ``key``, a number as its digits, None if there is none or it is empty.

    Raises UpstreamInvalidResponse for another type.
    """
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int) or not is_int64(value):
        raise UpstreamInvalidResponse("The REST API sent something else where a text belongs.")
    return str(value)


def read_objects(record: Record, key: str) -> list[Any]:
    """Return the list at ``key``, empty if there is none; raise UpstreamInvalidResponse for another type."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UpstreamInvalidResponse("The REST API sent something else where a list belongs.")
    return value


def attach_readers(schema: GraphQLSchema) -> None:
    """Give every field without a resolver of its own a reader for its key and its GraphQL type."""
    for graphql_type in schema.type_map.values():
        if not isinstance(graphql_type, GraphQLObjectType):
            continue
        for field in graphql_type.fields.values():
            key = upstream_key(field)
            if key is not None:
                replace_resolver(field, _reader(key, check_of(field.type)))


def upstream_key(field: GraphQLField) -> str | None:
    """Return the key that a field is read from, None if a resolver computes it.

    It is the Python name, without the underscore of names that would be keywords (``from_``).
    """
    definition = definition_of(field)
    if definition is None or has_resolver(definition):
        return None
    return field_name(definition).removesuffix("_")


def _reader(key: str, check: Check) -> Callable[..., Any]:
    def read(record: Record, _info: object) -> Any:
        return check(record.get(key))

    return read


def check_of(graphql_type: GraphQLOutputType) -> Check:
    """Return the check for a value of ``graphql_type``."""
    nullable = get_nullable_type(graphql_type)
    if isinstance(nullable, GraphQLList):
        return _list_check(nullable)  # an absent list is an empty list, whether or not it is nullable
    check = _leaf_check(nullable) if is_leaf_type(nullable) else _object
    return _required(check) if isinstance(graphql_type, GraphQLNonNull) else check


def _object(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return value
    raise UpstreamInvalidResponse("The REST API sent something else where an object belongs.")


def _required(check: Check) -> Check:
    def checked(value: Any) -> Any:
        if value is None:
            raise UpstreamInvalidResponse("The REST API left out a value that is never missing.")
        return check(value)

    return checked


def _leaf_check(leaf: GraphQLLeafType) -> Check:
    coerce = leaf_coercion(leaf)
    is_unambiguous = UNAMBIGUOUS.get(leaf.name, lambda _value: True)
    problem = f"The REST API sent a value that is no {leaf.name}."

    def checked(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, LongList):
            value = list(value)  # graphql-core turns a subclass of list into text
        if not is_unambiguous(value):
            raise UpstreamInvalidResponse(problem)
        try:
            coerce(value)
        except Exception as exc:
            raise UpstreamInvalidResponse(problem) from exc
        return value

    return checked


_integer = _leaf_check(GraphQLInt)


def read_integer(record: Record, key: str) -> Any:
    """Return the value at ``key`` as an ``Int``, or unchanged if it is none: then the field that reads it fails."""
    value = record.get(key)
    with suppress(UpstreamInvalidResponse):
        return None if value is None else int(_integer(value))
    return value


def _list_check(graphql_list: GraphQLList[Any]) -> Check:
    check = check_of(graphql_list.of_type)

    def item(value: Any) -> Any:
        try:
            return check(value)
        except UpstreamInvalidResponse as exc:
            return exc  # graphql-core raises it at the item's own path

    def checked(value: Any) -> Any:
        if value is None:
            return []
        if not isinstance(value, list):
            raise UpstreamInvalidResponse("The REST API sent something else where a list belongs.")
        items = [item(each) for each in value]
        return iterate_cooperatively(items) if isinstance(value, LongList) else items

    return checked
