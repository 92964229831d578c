"""The result of an operation, in the form that a client gets (GraphQL spec, section 7.1)."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from graphql import GraphQLError

from gateway.errors import BadUserInput, GatewayError, InternalError, RequestError, UnknownOperation
from gateway.telemetry import logger


class Cost(msgspec.Struct, frozen=True):
    """The REST calls of an operation: the predicted number and the actual one, None while there are more to come."""

    predicted: int
    actual: int | None
    or_more: bool = False
    """Whether there may be more than predicted, since the counting stopped at its limit."""


def sum_of(costs: list[Cost]) -> Cost:
    """Return the cost of several operations together."""
    actual = [cost.actual for cost in costs if cost.actual is not None]
    made = sum(actual) if len(actual) == len(costs) else None
    return Cost(sum(cost.predicted for cost in costs), made, any(cost.or_more for cost in costs))


class Result(msgspec.Struct, frozen=True):
    """The result of an operation. A request error has no data, which is not the same as data that is null."""

    payload: dict[str, Any]
    """The response, which msgspec encodes. ``data`` is a dict, or a struct if a plan built it."""
    is_request_error: bool = False
    is_unanswerable: bool = False
    """Whether the request does not say which operation to run."""
    codes: tuple[str, ...] = ()
    subsequent: AsyncGenerator[dict[str, Any], None] | None = None
    """The payloads that follow, with incremental delivery. The caller has to close this."""
    cost: Cost | None = None
    """The REST calls, if they are predicted."""

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return f"Result(is_request_error={self.is_request_error}, codes={self.codes})"


def completed(data: dict[str, Any] | None, errors: list[GraphQLError] | None, request_id: str) -> Result:
    """Return the result of an operation that was executed, or that graphql-core refused."""
    if not errors:
        return Result({"data": data})
    # graphql-core lists errors as they happen, in any order. Sorted, the same failures give the same response.
    shown = [format_error(error, request_id) for error in sorted(errors, key=_place)]
    for error in errors:
        release(error)
    codes = tuple(error["extensions"]["code"] for error in shown)
    if data is None and all(error.path is None for error in errors):
        return Result({"errors": shown}, is_request_error=True, codes=codes)
    return Result({"errors": shown, "data": data}, codes=codes)


def release(error: BaseException) -> None:
    """Drop the frames that an error and its causes refer to: in a cycle with them, they would keep REST bodies."""
    found: list[BaseException | None] = [error]
    seen = set()
    while found:
        each = found.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        found += each.__cause__, each.__context__, each.original_error if isinstance(each, GraphQLError) else None


def _place(error: GraphQLError) -> tuple[Any, ...]:
    """Return the sort key of an error: its place in the document and in the response."""
    locations = [(each.line, each.column) for each in error.locations or ()]
    return locations, [(isinstance(step, str), step) for step in error.path or ()]


def refused(exc: RequestError, request_id: str) -> Result:
    """Return the result of an operation that may not begin."""
    shown = [_shown(error, error.message, {"code": exc.code}, request_id) for error in exc.errors]
    return Result(
        {"errors": shown},
        is_request_error=True,
        is_unanswerable=isinstance(exc, UnknownOperation),
        codes=(exc.code,),
    )


def too_large(error: GatewayError, path: list[str | int] | None, request_id: str) -> Result:
    """Return the result of an operation whose response became too large: its data is null."""
    shown = format_error(GraphQLError(error.message, path=path, original_error=error), request_id)
    return Result({"errors": [shown], "data": None}, codes=(error.code,))


def failed(error: GatewayError, request_id: str, *, is_unanswerable: bool = False) -> Result:
    """Return the result of a request that failed as a whole."""
    extensions = {**error.extensions, "requestId": request_id}
    shown = {"message": error.message, "extensions": extensions}
    return Result({"errors": [shown]}, is_request_error=True, is_unanswerable=is_unanswerable, codes=(error.code,))


def format_error(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """Return the JSON form of an error; an error that may not be shown becomes an INTERNAL_ERROR and a log line."""
    gateway_error = _gateway_error(error, request_id)
    return _shown(error, gateway_error.message, gateway_error.extensions, request_id)


def _gateway_error(error: GraphQLError, request_id: str) -> GatewayError:
    original = error.original_error
    if isinstance(original, GatewayError):
        return original
    if original is None or isinstance(original, GraphQLError):
        # graphql-core raises these only for variables and arguments: upstream values were checked before.
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
