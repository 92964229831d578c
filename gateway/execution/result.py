"""The result of an operation, in the form a client gets it (GraphQL spec, section 7.1)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import GraphQLError

from gateway.errors import BadUserInput, GatewayError, InternalError
from gateway.execution.documents.cache import RequestError, UnknownOperation
from gateway.telemetry import logger


class Cost(NamedTuple):
    """REST calls: how many were predicted, and how many were made, None while they are being made."""

    predicted: int
    made: int | None
    or_more: bool = False
    """Whether there may be more than was predicted, for nobody counted on."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation came to. A request error has no data, which is not the same as data that is null."""

    payload: dict[str, Any]
    """What msgspec encodes as the answer. ``data`` is a dict, or of a planned operation a struct."""
    is_request_error: bool = False
    is_unanswerable: bool = False
    """Whether the request does not even say which operation to run."""
    codes: tuple[str, ...] = ()
    following: AsyncGenerator[dict[str, Any], None] | None = None
    """The parts that follow the payload; whoever gets them has to close them."""
    cost: Cost | None = None
    """The REST calls, where they are predicted."""


def completed(data: dict[str, Any] | None, errors: list[GraphQLError] | None, request_id: str) -> Result:
    """Return the result of an operation that was executed, or that graphql-core refused to begin."""
    if not errors:
        return Result({"data": data})
    # graphql-core lists errors as they happen. Which call fails first is chance, and the same failure reads the same.
    shown = [format_error(error, request_id) for error in sorted(errors, key=_place)]
    codes = tuple(error["extensions"]["code"] for error in shown)
    if data is None and all(error.path is None for error in errors):
        return Result({"errors": shown}, is_request_error=True, codes=codes)
    return Result({"errors": shown, "data": data}, codes=codes)


def _place(error: GraphQLError) -> tuple[Any, ...]:
    """Return where an error stands in the document and in the response, to be compared."""
    locations = [(each.line, each.column) for each in error.locations or ()]
    return locations, [(isinstance(step, str), step) for step in error.path or ()]


def refused(exc: RequestError, request_id: str) -> Result:
    """Return the result of an operation that cannot begin."""
    shown = [_shown(error, error.message, {"code": exc.code}, request_id) for error in exc.errors]
    return Result(
        {"errors": shown},
        is_request_error=True,
        is_unanswerable=isinstance(exc, UnknownOperation),
        codes=(exc.code,),
    )


def failed(error: GatewayError, request_id: str, *, is_unanswerable: bool = False) -> Result:
    """Return the result of a request that failed as a whole."""
    extensions = {**error.extensions, "requestId": request_id}
    shown = {"message": error.message, "extensions": extensions}
    return Result({"errors": [shown]}, is_request_error=True, is_unanswerable=is_unanswerable, codes=(error.code,))


def format_error(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """Return the JSON form of an error; what is not ours to show becomes an INTERNAL_ERROR and a log line."""
    gateway_error = _gateway_error(error, request_id)
    return _shown(error, gateway_error.message, gateway_error.extensions, request_id)


def _gateway_error(error: GraphQLError, request_id: str) -> GatewayError:
    original = error.original_error
    if isinstance(original, GatewayError):
        return original
    if original is None or isinstance(original, GraphQLError):
        # graphql-core raises these for variables and arguments alone: upstream values were checked before.
        return BadUserInput(error.message)
    logger.error(
        "a resolver failed",
        exc_info=original,
        extra={"fields": {"requestId": request_id, "path": error.path}},
    )
    return InternalError()


def _shown(error: GraphQLError, message: str, extensions: dict[str, Any], request_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"message": message}
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        shown["path"] = error.path
    shown["extensions"] = {**extensions, "requestId": request_id}
    return shown
