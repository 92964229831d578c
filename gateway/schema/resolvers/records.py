"""How a field is read from an upstream document.

The REST API's JSON objects are the records that resolvers see: plain dicts, never instances of the Strawberry types,
which only declare the schema. A field without a resolver of its own reads the key of its Python name, checks that the
value fits the field's GraphQL type, and raises UpstreamInvalidResponse where it does not, so that one wrong value is
one error at its own path. What is absent or null is null, and an absent list is an empty one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
from graphql import (
    GraphQLField,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    is_leaf_type,
)

from gateway.compat.graphql_core import leaf_coercion, replace_resolver
from gateway.compat.strawberry import definition_of, has_resolver
from gateway.errors import UpstreamInvalidResponse
from gateway.schema.resolvers.cooperative import (
    LARGE,
    TURN_BYTES,
    LongList,
    decode_in_turns,
    items_in_turns,
    run_in_turns,
)

Record: TypeAlias = dict[str, Any]
"""One JSON object of the REST API, keys as the REST API writes them."""

Check: TypeAlias = Callable[[Any], Any]
"""Returns an upstream value that fits a GraphQL type, or raises UpstreamInvalidResponse."""


class RestBody:
    """The body of one REST answer. It stays bytes until a value is asked for, and is decoded once.

    A body of ``large`` bytes or more is read by turns.
    """

    __slots__ = ("_large", "_record", "body")

    def __init__(self, body: bytes, large: int = LARGE) -> None:
        self.body = body
        self._large = large
        self._record: Record | None = None

    @property
    def is_large(self) -> bool:
        """Whether it has to be read by turns."""
        return len(self.body) >= self._large

    async def record(self) -> Record:
        """Return the decoded body; raise UpstreamInvalidResponse where it is no JSON object."""
        if self._record is None:
            self._record = await self._decode_in_turns() if self.is_large else decode_object(self.body)
        return self._record

    async def _decode_in_turns(self) -> Record:
        with _refusals():
            return _require_object(await run_in_turns(decode_in_turns(self.body, min(self._large, TURN_BYTES))))


def decode_object(body: bytes) -> Record:
    """Return the JSON object that ``body`` holds; raise UpstreamInvalidResponse where it holds none."""
    with _refusals():
        return _require_object(msgspec.json.decode(body))


@contextmanager
def _refusals() -> Iterator[None]:
    """Say of a body that cannot be decoded that it is not what was promised."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamInvalidResponse("The REST API's answer is not JSON.") from exc


def _require_object(value: Any) -> Record:
    if not isinstance(value, dict):
        raise UpstreamInvalidResponse("The REST API's answer is not a JSON object.")
    return value


def read_object(record: Record, key: str) -> Record | None:
    """Return the object at ``key``, None where there is none; raise UpstreamInvalidResponse for anything else."""
    return _object(record.get(key))  # type: ignore[no-any-return]  # _object checks it


def read_text(record: Record, key: str) -> str | None:
    """Return the text at ``key``, a number as its digits, None where there is none or it is empty.

    Raises UpstreamInvalidResponse for anything else.
    """
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UpstreamInvalidResponse("The REST API sent something else where a text belongs.")
    return str(value)


def read_objects(record: Record, key: str) -> list[Any]:
    """Return the list at ``key``, empty where there is none; raise UpstreamInvalidResponse for anything else."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UpstreamInvalidResponse("The REST API sent something else where a list belongs.")
    return value


def attach_readers(schema: GraphQLSchema) -> None:
    """Give every field that has no resolver of its own a reader for its key and its GraphQL type."""
    for graphql_type in schema.type_map.values():
        if not isinstance(graphql_type, GraphQLObjectType):
            continue
        for field in graphql_type.fields.values():
            key = upstream_key(field)
            if key is not None:
                replace_resolver(field, _reader(key, check_of(field.type)))


def upstream_key(field: GraphQLField) -> str | None:
    """Return the key a field is read from, None where a resolver computes it.

    It is the Python name, less the underscore of those that would be keywords (``from_``).
    """
    definition = definition_of(field)
    if definition is None or has_resolver(definition):
        return None
    return definition.python_name.removesuffix("_")


def _reader(key: str, check: Check) -> Callable[..., Any]:
    def read(record: Record, _info: object) -> Any:
        return check(record.get(key))

    return read


def check_of(graphql_type: GraphQLOutputType) -> Check:
    """Return the check for a value of ``graphql_type``."""
    if isinstance(graphql_type, GraphQLNonNull):
        inner = graphql_type.of_type
        return _list_check(inner) if isinstance(inner, GraphQLList) else _required(check_of(inner))
    if isinstance(graphql_type, GraphQLList):
        return _list_check(graphql_type)
    if is_leaf_type(graphql_type):
        return _leaf_check(graphql_type)
    return _object


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

    def checked(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, LongList):
            value = list(value)  # graphql-core makes a text of anything but a plain list
        try:
            coerce(value)
        except Exception as exc:
            raise UpstreamInvalidResponse(f"The REST API sent a value that is no {leaf.name}.") from exc
        return value

    return checked


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
        return items_in_turns(items) if isinstance(value, LongList) else items

    return checked
