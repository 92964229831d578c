"""A frozen request passes the five steps of the endpoint, and no object has more than six collaborators."""

import ast
import asyncio
import inspect
import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

import gateway.web
from gateway.errors import BodyTooLarge
from gateway.web.authentication import Authentication
from gateway.web.graphql.decode import RequestReader
from gateway.web.graphql.endpoint import GraphQLEndpoint
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.graphql.response import Responder
from gateway.web.request import BodyRoom, ClientDisconnected, HttpRequest, NoRoom, RequestBody, while_connected

STEPS = ["authenticate", "admit", "read", "execute", "respond"]
MAX_COLLABORATORS = 6
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "query_string": b"a=1",
    "headers": [(b"accept", b"first"), (b"x-name", b"caf\xe9"), (b"accept", b"second")],
    "client": ("192.0.2.1", 1234),
    "request_id": "mine",
}


def request(*messages: Message, **scope: Any) -> HttpRequest:
    """Return a request with these ASGI messages to receive."""
    left: Iterator[Message] = iter(messages)

    async def receive() -> Message:
        return next(left)

    return HttpRequest.of({**SCOPE, **scope}, receive)


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_request_has_the_values_of_the_scope() -> None:
    built = request()
    assert (built.method, built.query_string, built.address, built.id) == ("POST", b"a=1", "192.0.2.1", "mine")
    assert built.headers == {"accept": "first", "x-name": "café"}
    assert request(client=None).address is None


@pytest.mark.parametrize("name", HttpRequest.__struct_fields__)
def test_a_request_is_frozen(name: str) -> None:
    with pytest.raises(AttributeError, match="immutable type"):
        setattr(request(), name, None)


def test_a_request_shows_no_credentials() -> None:
    assert "secret" not in repr(request(headers=[(b"authorization", b"Bearer secret")]))


async def test_a_body_is_read_in_one_piece_or_several() -> None:
    assert await request(body(b"12345")).body(5) == b"12345"
    assert await request(body(b"123", more=True), body(b"45")).body(5) == b"12345"


@pytest.mark.parametrize("more", [False, True])
async def test_a_body_over_the_limit_is_read_to_its_end_and_refused(more: bool) -> None:
    pieces = [body(b"123", more=True), body(b"456")] if more else [body(b"123456")]
    with pytest.raises(BodyTooLarge):
        await request(*pieces).body(5)


async def test_a_disconnect_is_received_in_the_context_of_its_own_request() -> None:
    """Middleware may keep something of a request in its context. One timer watches for the clients of all requests."""
    name: ContextVar[str] = ContextVar("name")
    seen: list[tuple[str, str | None]] = []

    async def served(of: str) -> None:
        async def receive() -> Message:
            seen.append((of, name.get(None)))
            return {"type": "http.disconnect"}

        name.set(of)
        with pytest.raises(ClientDisconnected):
            await while_connected(receive, asyncio.Event().wait())

    await asyncio.gather(*(served(of) for of in "abc"))
    assert sorted(seen) == [("a", "a"), ("b", "b"), ("c", "c")]


async def test_a_body_that_is_cut_off_is_a_disconnect() -> None:
    with pytest.raises(ClientDisconnected):
        await request(body(b"123", more=True), {"type": "http.disconnect"}).body(5)


async def test_the_rest_of_an_endless_body_is_not_read_for_ever() -> None:
    messages = iter([body(bytes(2**20), more=True)] * 100)

    async def receive() -> Message:
        return next(messages)

    await RequestBody(receive).discard()
    assert len(list(messages)) == 100 - 65


async def test_each_body_that_finds_no_room_is_counted_once() -> None:
    room = BodyRoom(5)
    for number in (1, 2):
        with pytest.raises(NoRoom):
            await request(body(b"123", more=True), body(b"456", more=True), body(b"7")).body(10, room)
        assert (room.refused, room.left) == (number, 5)


def test_a_bug_is_an_internal_error_that_only_the_log_explains(caplog: pytest.LogCaptureFixture) -> None:
    bug = RuntimeError("a secret")
    response = Responder(OperationReporter(1.0)).fail(bug, request())
    assert (response.status_code, response.headers["content-type"]) == (500, "application/json; charset=utf-8")
    (error,) = json.loads(bytes(response.body))["errors"]
    assert error["extensions"] == {"code": "INTERNAL_ERROR", "requestId": "mine"}
    assert b"secret" not in bytes(response.body)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert (record.getMessage(), record.exc_info[1]) == ("a request failed", bug)
    assert vars(record)["fields"] == {"requestId": "mine"}


@pytest.mark.parametrize("kind", [GraphQLEndpoint, Authentication, RequestReader, OperationRunner, Responder])
def test_no_part_of_the_endpoint_has_many_collaborators(kind: type) -> None:
    assert len(fields(kind)) <= MAX_COLLABORATORS


def test_the_endpoint_calls_the_five_steps_in_their_order() -> None:
    tree = ast.parse(inspect.getsource(inspect.getmodule(GraphQLEndpoint)))  # type: ignore[arg-type]  # it has a module
    calls = [
        node.value.func for node in ast.walk(tree) if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)
    ]
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in STEPS] == STEPS


@pytest.mark.parametrize("path", sorted(Path(gateway.web.__path__[0]).rglob("*.py")), ids=lambda path: str(path.stem))
def test_no_function_of_the_web_package_has_many_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([name for name in given if name not in {"self", "cls"}]) <= MAX_COLLABORATORS, node.name
