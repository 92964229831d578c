"""The scalars: upstream values that GraphQL's own scalars cannot carry, passed through unchanged.

None of them formats or interprets a value: a date is the string of the REST API. The values of the four enumerations
are not published, so that any string or integer is accepted.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, NewType

import msgspec
from graphql import GRAPHQL_MAX_INT, GRAPHQL_MIN_INT, GraphQLError
from graphql.language import IntValueNode, StringValueNode, ValueNode
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition, scalar

from gateway.storage.uploaded_file import UploadedFile

DateTime = NewType("DateTime", str)
Date = NewType("Date", str)
BigInt = NewType("BigInt", int)
ThreadStatus = NewType("ThreadStatus", object)
MessageDelivery = NewType("MessageDelivery", object)
MessageOrigin = NewType("MessageOrigin", object)
CustomerAccountType = NewType("CustomerAccountType", object)
Upload = NewType("Upload", UploadedFile)

ANY_JSON = "JSON"
"""The scalar whose values may be objects and lists."""

_LONGEST_INTEGER_LITERAL = 100
_INTEGER_TEXT = re.compile(r"-?(0|[1-9][0-9]{0,9})", re.ASCII)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError("not a string")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise GraphQLError("not an integer")
    return value


def _open_value(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise GraphQLError("neither a string nor an integer")
    return value


def _file(value: Any) -> UploadedFile:
    if isinstance(value, UploadedFile):
        return value
    raise GraphQLError("An Upload is a file of a multipart request (multipart/form-data), and nothing in its place.")


def _literal(node: ValueNode, _variables: dict[str, Any] | None = None) -> str | int:
    """Return the value of an integer or string literal; an open value has no other literals."""
    if isinstance(node, StringValueNode):
        return node.value
    if isinstance(node, IntValueNode) and len(node.value) <= _LONGEST_INTEGER_LITERAL:
        return int(node.value)
    raise GraphQLError("neither a string nor an integer", node)


def _open_scalar(name: str, description: str) -> ScalarDefinition:
    text = f"{description} The REST API does not publish its values: any string or integer, passed on unchanged."
    return scalar(name=name, description=text, serialize=_open_value, parse_value=_open_value, parse_literal=_literal)


SCALARS: dict[object, ScalarDefinition] = {
    DateTime: scalar(
        name="DateTime",
        description="A moment as the REST API wrote it, usually like `2018-08-03T12:31:34Z`.",
        serialize=_text,
        parse_value=_text,
    ),
    Date: scalar(
        name="Date",
        description="A day as the REST API wrote it, usually like `2018-08-03`.",
        serialize=_text,
        parse_value=_text,
    ),
    BigInt: scalar(
        name="BigInt",
        description="An integer of any size, as a JSON number: sizes in bytes pass the 32 bits of `Int`.",
        serialize=_integer,
        parse_value=_integer,
    ),
    JSON: scalar(
        name="JSON",
        description="Any JSON value, passed on unchanged.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
    Upload: scalar(
        name="Upload",
        description="A file that is sent with the operation, as a part of a multipart request. Null in `operations`.",
        specified_by_url="https://github.com/jaydenseric/graphql-multipart-request-spec",
        serialize=_file,
        parse_value=_file,
    ),
    ThreadStatus: _open_scalar("ThreadStatus", "Whether a thread waits for an agent, for the customer, or is closed."),
    MessageDelivery: _open_scalar("MessageDelivery", "How far a message has come: a draft, sent, and the like."),
    MessageOrigin: _open_scalar("MessageOrigin", "Where a message came from."),
    CustomerAccountType: _open_scalar("CustomerAccountType", "Whether a customer is a firm or an individual."),
}


def is_int64(value: int) -> bool:
    """Return whether an integer fits in 64 bits. The text of a longer one takes time by the square of its length."""
    return -(2**63) <= value < 2**63


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return _INTEGER_TEXT.fullmatch(value) is not None
    return not isinstance(value, bool)


UNAMBIGUOUS: dict[str, Callable[[Any], bool]] = {
    "Boolean": lambda value: value in (0, 1),
    "Int": _is_integer,
    "ID": lambda value: not isinstance(value, bool),
    "String": lambda value: not isinstance(value, bool),
}
"""By scalar, which upstream values may be converted. graphql-core converts more: ``true`` and "1_0" to an ``Int``."""

WIRE_TYPES: dict[str, Any] = {
    "Boolean": bool,
    "ID": str,
    "Int": Annotated[int, msgspec.Meta(ge=GRAPHQL_MIN_INT, le=GRAPHQL_MAX_INT)],
    "String": str,
    "BigInt": int,
    "Date": str,
    "DateTime": str,
    "JSON": Any,
    "CustomerAccountType": str | int,
    "MessageDelivery": str | int,
    "MessageOrigin": str | int,
    "ThreadStatus": str | int,
}
"""By scalar, the type of the JSON values that are passed on unchanged: the only ones that a compiled plan accepts.

A scalar may convert other values (``Int`` converts "12" to 12). A scalar that is not listed is not planned.
"""
