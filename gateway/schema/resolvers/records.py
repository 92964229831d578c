"""How a field is read from a REST body.

The REST API's JSON objects are the records that resolvers see: plain dicts, never instances of the Strawberry types,
which only declare the schema. Their values are JSON texts, and each is decoded when a field reads it. So what nobody
selects is never decoded, by this executor as by plans, and may be anything that is JSON.

A field without a resolver of its own reads the key of its Python name, and checks that the value fits the field's
GraphQL type. If it does not, it raises UpstreamInvalidResponse, so that one wrong value is one error at its own path.
A value that is absent or null is null, and an absent list is an empty list.

Each object below a thread knows the thread that it belongs to, because what it refers to may be elsewhere in there.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
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
    GraphQLResolveInfo,
    GraphQLSchema,
    get_nullable_type,
    is_leaf_type,
)

from gateway.compat.graphql_core import leaf_coercion, replace_resolver
from gateway.compat.strawberry import declared_in, definition_of, field_name, has_resolver
from gateway.errors import UpstreamInvalidResponse
from gateway.schema.resolvers.cooperative import Pace, iterate_cooperatively, run_cooperatively
from gateway.schema.resolvers.enumerations import name_of
from gateway.schema.scalars import ANY_JSON, UNAMBIGUOUS, is_int64

_OURS = "gateway.schema."

Record: TypeAlias = dict[str, Any]
"""One JSON object of the REST API, keys as the REST API writes them. Its values are texts that are not yet decoded."""

Check: TypeAlias = Callable[[Any], Any]
"""Returns an upstream value that fits a GraphQL type, or raises UpstreamInvalidResponse. It decodes a text first."""

_INVALID = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_VALUE = msgspec.json.Decoder()

_THREAD: Any = object()
"""The key at which a record has its thread. No key of a JSON object is equal to it."""
_CUSTOMERS: Any = object()
"""The key at which a thread has its customers by id, once one was looked for."""

# The items of a shorter list are completed at once. A longer one is decoded when it is its turn.
_SHORT_LIST_BYTES = 256


class RestBody:
    """The body of one REST response. It is kept as bytes, and its members are found once, when a value is read.

    A body that ``is_large`` has been inspected, and has to be processed cooperatively.
    """

    __slots__ = ("_record", "content", "is_large")

    def __init__(self, content: bytes, *, is_large: bool = False) -> None:
        self.content = content
        self.is_large = is_large
        self._record: Record | None = None

    def require_text(self) -> None:
        """Raise UnicodeDecodeError unless the body is UTF-8: msgspec checks only the strings that it keeps."""
        if not self.is_large and not self.content.isascii():
            self.content.decode()

    def record(self) -> Record:
        """Return the body as an object; raise UpstreamInvalidResponse if it is none."""
        if self._record is None:
            try:
                self.require_text()
                if self.content.lstrip()[:1] != b"{":
                    _VALUE.decode(self.content)
                    raise UpstreamInvalidResponse("The REST API's answer is not a JSON object.")
                self._record = _MEMBERS.decode(self.content)
            except _INVALID as exc:
                raise UpstreamInvalidResponse("The REST API's answer is not JSON.") from exc
        return self._record


def read_object(record: Record, key: str) -> Record | None:
    """Return the object at ``key``, None if there is none; raise UpstreamInvalidResponse for another type."""
    return _object(record.get(key))  # type: ignore[no-any-return]  # _object checks it


def read_text(record: Record, key: str) -> str | None:
    """Return the text at ``key``, a number as its digits, None if there is none or it is empty.

    Raises UpstreamInvalidResponse for another type.
    """
    problem = "The REST API sent something else where a text belongs."
    value = _scalar(record.get(key), problem)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int) or not is_int64(value):
        raise UpstreamInvalidResponse(problem)
    return str(value)


def read_objects(record: Record, key: str) -> list[Any]:
    """Return the list at ``key``, empty if there is none; raise UpstreamInvalidResponse for another type."""
    return _list(record.get(key))


def belonging_to(thread: Record | None, record: Record) -> Record:
    """Return the record, which belongs to a thread from now on."""
    if thread is not None:
        record[_THREAD] = thread
    return record


async def customer_of_thread(record: Record, customer_id: str, pace: Pace) -> Record | None:
    """Return the customer with this id in the thread of a record, None if the thread has none or is not known.

    Raises UpstreamInvalidResponse if the thread's customers are no list.
    """
    thread = record.get(_THREAD)
    if thread is None:
        return None
    if _CUSTOMERS not in thread:
        thread[_CUSTOMERS] = await run_cooperatively(_by_id(read_objects(thread, "customers")), pace)
    found: Record | None = thread[_CUSTOMERS].get(customer_id)
    return found


def _by_id(items: list[Any]) -> Generator[None, None, dict[str, Record]]:
    """Find the objects among the items that have an id; the list itself reports the others."""
    found: dict[str, Record] = {}
    for item in items:
        with suppress(UpstreamInvalidResponse):
            record = _object(item)
            ident = None if record is None else read_text(record, "id")
            if ident is not None:
                found.setdefault(ident, record)
        yield
    return found


def _begins(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])


def _scalar(value: Any, problem: str) -> Any:
    """Return a value that is neither an object nor a list; raise UpstreamInvalidResponse with this ``problem``."""
    if not isinstance(value, msgspec.Raw):
        return value
    if _begins(value) in {b"{", b"["}:  # it may be of any size, and is not decoded to be refused
        raise UpstreamInvalidResponse(problem)
    return _decoded(value, problem)


def _decoded(value: Any, problem: str) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    try:
        return _VALUE.decode(value)
    except _INVALID as exc:  # a number that no program can hold
        raise UpstreamInvalidResponse(problem) from exc


def _list(value: Any) -> list[Any]:
    problem = "The REST API sent something else where a list belongs."
    items = _container(value, b"[", _ITEMS, problem)
    if items is not None and not isinstance(items, list):
        raise UpstreamInvalidResponse(problem)
    return items or []


def _container(value: Any, begins: bytes, decoder: msgspec.json.Decoder[Any], problem: str) -> Any:
    """Return an object or a list with its members still undecoded; None for null."""
    if not isinstance(value, msgspec.Raw):
        return value
    if _begins(value) != begins:
        return _scalar(value, problem)
    try:
        return decoder.decode(value)
    except RecursionError as exc:  # there is less room on the stack than there was for the body
        raise UpstreamInvalidResponse(problem) from exc


def attach_readers(schema: GraphQLSchema) -> None:
    """Give every field without a resolver of its own a reader for its key and its GraphQL type."""
    for graphql_type in schema.type_map.values():
        if not isinstance(graphql_type, GraphQLObjectType):
            continue
        for field in graphql_type.fields.values():
            key = upstream_key(field)
            if key is not None:
                replace_resolver(field, _reader(key, field.type, is_of_thread=graphql_type.name == "Thread"))


def upstream_key(field: GraphQLField) -> str | None:
    """Return the key that a field is read from; None if a resolver computes it, or its type is of another source.

    It is the Python name, without the underscore of names that would be keywords (``from_``).
    """
    definition = definition_of(field)
    if definition is None or has_resolver(definition) or not declared_in(definition).startswith(_OURS):
        return None
    return field_name(definition).removesuffix("_")


def _reader(key: str, graphql_type: GraphQLOutputType, *, is_of_thread: bool) -> Callable[..., Any]:
    nullable = get_nullable_type(graphql_type)
    if isinstance(nullable, GraphQLList):
        return _list_reader(key, nullable, is_of_thread=is_of_thread)
    check = _check_of(graphql_type)

    def read(record: Record, _info: object) -> Any:
        return check(record.get(key))

    def read_below(record: Record, _info: object) -> Any:
        value = check(record.get(key))
        return None if value is None else belonging_to(record if is_of_thread else record.get(_THREAD), value)

    return read if is_leaf_type(nullable) else read_below


def _list_reader(key: str, graphql_list: GraphQLList[Any], *, is_of_thread: bool) -> Callable[..., Any]:
    """Return the reader of a list. An absent list is an empty list, whether or not it is nullable."""
    check = _check_of(graphql_list.of_type)
    is_leaf = is_leaf_type(get_nullable_type(graphql_list.of_type))

    def item_of(thread: Record | None) -> Callable[[Any], Any]:
        def item(value: Any) -> Any:
            try:
                known = check(value)
            except UpstreamInvalidResponse as exc:
                return exc  # graphql-core raises it at the item's own path
            return known if is_leaf or known is None else belonging_to(thread, known)

        return item

    def read(record: Record, info: GraphQLResolveInfo[Any]) -> Any:
        value, item = record.get(key), item_of(record if is_of_thread else record.get(_THREAD))
        if isinstance(value, msgspec.Raw) and _begins(value) == b"[" and len(memoryview(value)) > _SHORT_LIST_BYTES:
            return iterate_cooperatively(lambda: _list(value), info.context.pace, item)
        return [item(each) for each in _list(value)]

    return read


def _check_of(graphql_type: GraphQLOutputType) -> Check:
    """Return the check for a value of ``graphql_type``, which is no list."""
    nullable: Any = get_nullable_type(graphql_type)
    check = _leaf_check(nullable) if is_leaf_type(nullable) else _object
    return _required(check) if isinstance(graphql_type, GraphQLNonNull) else check


def _object(value: Any) -> Any:
    problem = "The REST API sent something else where an object belongs."
    members = _container(value, b"{", _MEMBERS, problem)
    if members is None or isinstance(members, dict):
        return members
    raise UpstreamInvalidResponse(problem)


def _required(check: Check) -> Check:
    def checked(value: Any) -> Any:
        known = check(value)
        if known is None:
            raise UpstreamInvalidResponse("The REST API left out a value that is never missing.")
        return known

    return checked


def _leaf_check(leaf: GraphQLLeafType) -> Check:
    coerce, named = leaf_coercion(leaf), name_of(leaf)
    is_unambiguous = UNAMBIGUOUS.get(leaf.name, lambda _value: True)
    problem = f"The REST API sent a value that is no {leaf.name}."
    decode = _decoded if leaf.name == ANY_JSON else _scalar

    def checked(value: Any) -> Any:
        value = decode(value, problem)
        if value is None:
            return None
        if not is_unambiguous(value):
            raise UpstreamInvalidResponse(problem)
        try:
            coerce(value)
        except Exception as exc:
            raise UpstreamInvalidResponse(problem) from exc
        return value if named is None else named(value)

    return checked


_integer = _leaf_check(GraphQLInt)


def read_integer(record: Record, key: str) -> Any:
    """Return the value at ``key`` as an ``Int``, or unchanged if it is none: then the field that reads it fails."""
    value = record.get(key)
    with suppress(UpstreamInvalidResponse):
        known = _integer(value)
        return None if known is None else int(known)
    return value
