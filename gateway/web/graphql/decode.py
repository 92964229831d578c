"""From an HTTP request to a GraphQL operation (GraphQL over HTTP, section Request)."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from gateway.errors import BadUserInput, BodyTooLarge, UrlTooLong
from gateway.execution.documents.persisted import PersistedOperation, document_name
from gateway.execution.operation import Operation

T = TypeVar("T")

_MOMENT = 0.02  # seconds
# A client that is cut off while it sends may never read the answer: so what it still sends is read and thrown away.
_MOST_DISCARDED = 64 * 1024 * 1024
# Proxies take less; and a parameter costs far more time to decode than a byte of a body.
_LONGEST_QUERY_STRING = 32 * 1024
_MOST_PARAMETERS = 100
# JSON objects and lists, by their brackets: a megabyte of nested ones takes 120 ms to decode, one of numbers 5 ms.
_MOST_BRACKETS = 50_000
_LONGEST_NAME = 256


class ClientDisconnected(Exception):
    """The client went away before it was answered."""


def request_headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers by their names in lower case; of several with one name, the first.

    Starlette's own look through all of them for each that is asked for: with ten questions that is 10 us a request.
    """
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body; raise BodyTooLarge over ``limit`` bytes, ClientDisconnected where it breaks off."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:
            return body
    chunks: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        if not message.get("more_body") or size > _MOST_DISCARDED:
            if size > limit:
                raise BodyTooLarge(f"The request's body is larger than {limit} bytes.")
            return b"".join(chunks)
        message = await receive()
    raise ClientDisconnected


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Await ``work``; where the client hangs up meanwhile, cancel it and raise ClientDisconnected.

    The request's body has been read, so that all there is to receive is that it is over. Work that is done in a moment
    is not watched: a task for it would cost more than is lost.
    """
    task = asyncio.current_task()
    watcher: asyncio.Task[None] | None = None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if task is not None:
            task.cancel()

    def begin_to_watch() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch(), name="client-watch")

    timer = asyncio.get_running_loop().call_later(_MOMENT, begin_to_watch)
    try:
        return await work
    except asyncio.CancelledError:
        if task is None or not gone:
            raise
        task.uncancel()
        raise ClientDisconnected from None
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


def json_of_body(body: bytes) -> Any:
    """Return the JSON value that a POST's body holds; BadUserInput where it is none, BodyTooLarge where too much."""
    if len(body) > _MOST_BRACKETS and body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
        raise BodyTooLarge(f"The request's body holds more than {_MOST_BRACKETS} JSON objects and lists.")
    return _json(body, "The request's body")


def operation_of_query_string(query_string: bytes) -> Operation:
    """Return the operation that a GET's query string holds; raise BadUserInput that says what is wrong with it."""
    if len(query_string) > _LONGEST_QUERY_STRING:
        raise UrlTooLong(f"The query string is longer than {_LONGEST_QUERY_STRING} bytes: use POST.")
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=_MOST_PARAMETERS)
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
    """Return the operation that a request's parameters make; raise BadUserInput that says what is wrong with them."""
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
    if name is not None and len(name) > _LONGEST_NAME:
        raise BadUserInput(f"`operationName` must have {_LONGEST_NAME} characters at most.")
    variables = _require_object(parameters, "variables")
    if called is not None:
        return PersistedOperation(document, name, variables, called)
    return Operation(document, name, variables)


def _require_object(parameters: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = parameters.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise BadUserInput(f"`{name}` must be a JSON object or null.")
