"""Step 3 of the endpoint: read the request's operation, or its batch of them (GraphQL over HTTP, section Request)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from prometheus_client.core import Metric

from gateway.errors import BadUserInput, BatchTooLarge, BodyTooLarge, GatewayError, UrlTooLong
from gateway.execution.documents.persisted import PersistedOperation, document_name
from gateway.execution.operation import Operation
from gateway.schema.resolvers.large_bodies import MAX_DIGITS, has_long_number
from gateway.telemetry.metrics import Labels, counter, gauge
from gateway.web.graphql.batching import Batch
from gateway.web.graphql.negotiation import JSON
from gateway.web.graphql.uploads.upload_reader import UploadReader
from gateway.web.request import (
    FORM,
    BodyRoom,
    HttpError,
    HttpRequest,
    NoRoom,
    is_form,
    media_type_of,
    retry_after_header,
)

# Proxies allow less; and a parameter takes far longer to decode than a byte of a body.
_MAX_QUERY_STRING_BYTES = 32 * 1024
_MAX_PARAMETERS = 100
# JSON objects and lists, counted by their brackets: a megabyte of nested ones takes 120 ms to decode, of numbers 5 ms.
_MAX_BRACKETS = 50_000
_MAX_NAME_CHARACTERS = 256
# The operations of a refused batch that get an error each: a body of a megabyte may hold 300,000 of them.
_MAX_REFUSED_MEMBERS = 100
_ROOM_BYTES = 48 * 2**20


def room_for(max_body: int) -> BodyRoom:
    """Return the room for bodies in a worker: 48 MB, so that it stays below 100 MB, and at least for two of them."""
    return BodyRoom(max(_ROOM_BYTES, 2 * max_body))


@dataclass(frozen=True, slots=True)
class RequestReader:
    """Reads operations. ``max_body`` is in bytes; ``max_batch`` is how many operations a POST may hold, 1 for none.

    ``room`` is for the bodies of all requests that are read at one moment.
    """

    uploads: UploadReader
    max_body: int
    max_batch: int = 1
    room: BodyRoom = field(default_factory=BodyRoom)

    async def read(self, request: HttpRequest) -> Operation | Batch:
        """Return what the client asks for; HttpError 400, 405, 413, 414 or 415 where that is no GraphQL request.

        HttpError 503 where an uploaded file cannot be kept, or there is no room for the body.
        """
        try:
            if request.method == "GET":
                return operation_of_query_string(request.query_string)
            if request.method != "POST":
                message = "GraphQL is asked with GET or POST."
                raise HttpError(405, BadUserInput(message), {"allow": "GET, POST"})
            if is_form(request.headers):
                return await self._uploaded(request)
            _require_json(request.headers.get("content-type"))
            return operations_of_body(await request.body(self.max_body, self.room), self.max_batch)
        except NoRoom as exc:
            raise HttpError(503, exc, retry_after_header(exc.retry_after)) from exc
        except BodyTooLarge as exc:
            raise HttpError(413, exc) from exc
        except UrlTooLong as exc:
            raise HttpError(414, exc) from exc
        except BadUserInput as exc:
            raise HttpError(400, exc) from exc

    async def _uploaded(self, request: HttpRequest) -> Operation:
        upload = await self.uploads.read(request, self.room, _operations_of_upload)
        return msgspec.structs.replace(operation_of(upload.operations), uploads=frozenset(upload.variables))


def room_metrics(reader: RequestReader) -> Iterator[Metric]:
    """Yield what is kept of uploads, and how many requests found no room."""
    files = reader.uploads.room
    yield gauge("upload_bytes", "Bytes of uploaded files that are kept on the disk.", (), {(): files.kept})
    refused: dict[Labels, float] = {("memory",): reader.room.refused, ("disk",): files.refused}
    help_text = "Requests that found no room: in memory for their bodies, on the disk for their files."
    yield counter("requests_without_room", help_text, ("room",), refused)


def _require_json(content_type: str | None) -> None:
    """Raise HttpError 415 unless the body is declared as JSON: other types a browser sends across origins (CSRF)."""
    if not _is_json(content_type or ""):
        message = "The request's body must be JSON in UTF-8, with `Content-Type: application/json`."
        raise HttpError(415, BadUserInput(message), {"accept-post": f"{JSON}, {FORM}"})


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    charset = content_type.partition(";")[2].strip().lower().removeprefix("charset=").strip('"')
    return media_type_of(content_type) == JSON and charset in {"", "utf-8", "utf8"}


def operations_of_body(body: bytes, max_batch: int) -> Operation | Batch:
    """Return what a valid POST's JSON body holds; else BadUserInput, BodyTooLarge, or HttpError for a batch."""
    value = _bounded_json(body)
    return _batch(value, max_batch) if isinstance(value, list) else operation_of(value)


def _operations_of_upload(body: bytes) -> dict[str, Any]:
    value = _bounded_json(body)
    if isinstance(value, list):
        raise BadUserInput("An upload holds one operation, not a batch.")
    if not isinstance(value, dict):
        raise BadUserInput("`operations` must be a JSON object with `query`.")
    return value


def _bounded_json(body: bytes) -> Any:
    if len(body) > _MAX_BRACKETS and body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise BodyTooLarge(f"The request's body holds more than {_MAX_BRACKETS} JSON objects and lists.")
    if has_long_number(body):
        raise BadUserInput(f"The request's body holds a number of more than {MAX_DIGITS} digits.")
    return _json(body, "The request's body")


def _batch(members: list[Any], max_batch: int) -> Batch:
    if max_batch == 1:
        message = "This gateway takes no batches: send one operation, or set GATEWAY_MAX_BATCH above 1."
        raise _refused(members, BadUserInput(message))
    if not 1 <= len(members) <= max_batch:
        error = BatchTooLarge if members else BadUserInput
        raise _refused(members, error(f"A batch has 1 to {max_batch} operations, not {len(members)}."))
    if not all(isinstance(member, dict) for member in members):
        raise BadUserInput("A batch is a JSON array of objects with `query`.")
    return Batch(tuple(_member(member) for member in members))


def _refused(members: list[Any], error: GatewayError) -> HttpError:
    """Return what refuses a batch in words that clients show: gql shows only those in an array of its length."""
    count = len(members)
    return HttpError(400, error, members=count if count <= _MAX_REFUSED_MEMBERS else 0)


def _member(parameters: dict[str, Any]) -> Operation | BadUserInput:
    try:
        return operation_of(parameters)
    except BadUserInput as exc:
        return exc


def operation_of_query_string(query_string: bytes) -> Operation:
    """Return the operation of a GET's query string; BadUserInput or UrlTooLong where it is invalid."""
    if len(query_string) > _MAX_QUERY_STRING_BYTES:
        raise UrlTooLong(f"The query string is longer than {_MAX_QUERY_STRING_BYTES} bytes: use POST.")
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=_MAX_PARAMETERS)
        parameters: dict[str, Any] = dict(pairs)
    except ValueError as exc:
        raise BadUserInput("The query string is not valid percent-encoded UTF-8.") from exc
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parameters[name] = _json(parameters[name].encode(), f"The parameter `{name}`")
    return operation_of(parameters)


def _json(text: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError as exc:
        raise BadUserInput(f"{what} is nested too deeply.") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise BadUserInput(f"{what} is not JSON.") from exc


def operation_of(parameters: Any) -> Operation:
    """Return the operation of a request's parameters; BadUserInput says what is wrong with them."""
    if not isinstance(parameters, dict):
        raise BadUserInput("The request's body must be a JSON object with `query`.")
    called = document_name(parameters.get("documentId"), _require_object(parameters, "extensions"))
    document = parameters.get("query")
    if document is None or document == "":
        if called is None:
            raise BadUserInput("`query` is missing: it holds the GraphQL document.")
        document = ""
    if not isinstance(document, str):
        raise BadUserInput("`query` must be a string that holds the GraphQL document.")
    if document and called is not None and called.is_document_id:
        raise BadUserInput("`documentId` stands in place of `query`: send one of them.")
    name = parameters.get("operationName")
    if name is not None and not isinstance(name, str):
        raise BadUserInput("`operationName` must be a string or null.")
    if name is not None and len(name) > _MAX_NAME_CHARACTERS:
        raise BadUserInput(f"`operationName` must have {_MAX_NAME_CHARACTERS} characters at most.")
    variables = _require_object(parameters, "variables")
    if called is not None:
        return PersistedOperation(document, name, variables, called=called)
    return Operation(document, name, variables)


def _require_object(parameters: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = parameters.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise BadUserInput(f"`{name}` must be a JSON object or null.")
