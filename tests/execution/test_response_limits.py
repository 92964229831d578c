"""The limits of a response are exact, and the same whichever executor builds it."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from gateway.execution.engine import Engine
from gateway.execution.operation import Operation
from gateway.sandbox import Fault, Sandbox
from gateway.schema.resolvers.budget import MAX_ERRORS, ResponseLimits
from gateway.schema.resolvers.cooperative import LARGE_BYTES
from tests.execution import upstream_bodies
from tests.execution.comparison import Reply, documents, engine, run
from tests.harness import StartGateway, rest_response

BODIES = {
    "/api/v1/thread/1": upstream_bodies.thread("1"),
    "/api/v1/thread/1/messages": upstream_bodies.page(0, 7),
    "/api/v1/thread/bare": {"id": "bare", "attachments": [{"id": "a"}]},
    **{f"/api/v1/customers/e-{n}": upstream_bodies.profile(str(n)) for n in (1, 2)},
}
OPERATIONS = {
    "a leaf": "{ thread(id: 1) { id } }",
    "objects": "{ thread(id: 1) { lastMessage { attachments { attachmentMovements { total } } } reminder { delay } } }",
    "nulls": '{ thread(id: "bare") { lastMessage { from } attachments { id attachmentMovements { total } } } }',
    "nested lists": "{ thread(id: 1) { attachments { attachmentMovements { movements { agentId fileId } } } } }",
    "leaves in lists": "{ thread(id: 1) { tags contacts customers { aliasIds customFields } } }",
    "aliases": "{ a: thread(id: 1) { b: customers { c: id d: id } e: customers { id } } f: thread(id: 1) { id } }",
    "a long alias": "{ thread(id: 1) { customers { " + "a" * 300 + ": id } } }",
    "a thread many times": "{ threads(ids: [1, 1, 9, 1]) { id customers { id profile { customer { id } } } } }",
    "pages": "{ thread(id: 1) { messages(first: 5) {"
    "  edges { cursor node { id } } nodes { from } pageInfo { endCursor } } } }",
    "type names": "{ __typename thread(id: 1) { __typename customers { a: __typename b: __typename } } }",
    "fragments": "{ thread(id: 1) { ...F id } } fragment F on Thread { id customers { ...G ...G } }"
    " fragment G on Customer { id }",
    "entities": '{ _entities(representations: [{__typename: "Thread", id: 1}, {__typename: "Customer",'
    ' externalId: "e-1"}, {__typename: "Thread", id: 1}])'
    " { __typename ... on Thread { id tags } ... on Customer { id nameVariations { lastName } } } }",
    "one that fails": '{ threads(ids: [1, "broken", 1]) { id customers { id } } }',
    "introspection": "{ __schema { types { name fields { name } } } }",
}


def answer(target: str) -> Reply:
    return rest_response(500) if "broken" in target else documents(BODIES)(target)


def fields(value: Any) -> int:
    """Return how many keys the objects in a value have; a JSON scalar is one value."""
    match value:
        case dict():
            return len(value) + sum(fields(each) for key, each in value.items() if key != "customFields")
        case list():
            return sum(map(fields, value))
    return 0


async def response(executor: Engine, document: str, limits: ResponseLimits, *, large_bytes: int) -> Any:
    seen = await run(executor, Operation(document, None, None), answer, response=limits, large_bytes=large_bytes)
    return msgspec.json.decode(seen.body)


def code(found: Mapping[str, Any]) -> str | None:
    """Return the code of a refusal, None if there is data."""
    if found["data"] is not None:
        return None
    (error,) = found["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("document", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
@pytest.mark.parametrize("large_bytes", [0, LARGE_BYTES], ids=["cooperative", "at once"])
async def test_a_response_may_be_as_large_as_its_limits(document: str, plans: bool, large_bytes: int) -> None:
    executor = engine(plans=plans)
    whole = await response(executor, document, ResponseLimits(), large_bytes=large_bytes)
    exact = ResponseLimits(fields(whole["data"]), len(msgspec.json.encode(whole["data"])))
    assert await response(executor, document, exact, large_bytes=large_bytes) == whole
    for limits in (ResponseLimits(fields=exact.fields - 1), ResponseLimits(bytes=exact.bytes - 1)):
        assert code(await response(executor, document, limits, large_bytes=large_bytes)) == "MAX_RESPONSE_LIMIT"


@pytest.mark.parametrize(
    ("document", "path"),
    [("{ a: thread(id: 1) { id tags } }", ["a"]), ("{ a: thread(id: 1) { id } b: __typename }", None)],
    ids=["one root field", "two"],
)
@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
async def test_the_refusal_has_the_path_of_the_only_root_field(
    document: str, path: list[str] | None, plans: bool
) -> None:
    found = await response(engine(plans=plans), document, ResponseLimits(fields=2), large_bytes=LARGE_BYTES)
    assert found["errors"][0].get("path") == path
    assert "2 fields" in found["errors"][0]["message"]


async def test_a_plan_refuses_a_response_without_the_reference() -> None:
    """The reference would take much longer to find that out."""
    planned = engine()
    await response(planned, OPERATIONS["a thread many times"], ResponseLimits(fields=5), large_bytes=LARGE_BYTES)
    assert not planned.counters.stood_aside


@pytest.mark.parametrize("text", ["x" * 10_000, "\u00e9" * 5_000], ids=["ascii", "not ascii"])
@pytest.mark.parametrize("selection", ["lastMessage { content }", "lastMessage { content from messages: content }"])
async def test_a_plan_answers_what_is_just_within_the_bytes(text: str, selection: str) -> None:
    """It measures what it cannot be sure of, and stands aside only if it has to."""
    thread = {"id": "1", "last_message": {"id": "m", "content": text, "from": "a"}, "unknown": "x" * 50_000}
    planned = engine()
    operation = Operation("{ threads(ids: [1, 1, 1]) { " + selection + " } }", None, None)
    whole = await run(planned, operation, documents({"/api/v1/thread/1": thread}))
    size = len(whole.body) - len(b'{"data":}')
    seen = await run(
        planned, operation, documents({"/api/v1/thread/1": thread}), response=ResponseLimits(bytes=size + 10)
    )
    assert seen.body == whole.body
    assert planned.counters.planned == 2


@pytest.mark.parametrize(("count", "expected"), [(MAX_ERRORS, None), (MAX_ERRORS + 1, "MAX_RESPONSE_LIMIT")])
async def test_a_response_has_a_limited_number_of_errors(count: int, expected: str | None) -> None:
    document = "query ($a: [_Any!]!) { _entities(representations: $a) { __typename } }"
    seen = await run(engine(), Operation(document, None, {"a": [{}] * count}), answer)
    found = msgspec.json.decode(seen.body)
    assert code(found) == expected
    assert len(found["errors"]) == (count if expected is None else 1)


def test_the_settings_are_the_limits(start: StartGateway) -> None:
    document = "{ threads(ids: [" + '"th-1" ' * 60 + "]) { id tags } }"
    assert start(max_response_fields=121).data(document)["threads"]
    assert start(max_response_fields=120).code(document) == "MAX_RESPONSE_LIMIT"
    assert start(max_response=1024).code(document) == "MAX_RESPONSE_LIMIT"


@pytest.mark.parametrize("plans", [True, False], ids=["plan", "reference"])
def test_the_rest_responses_of_an_operation_are_limited(start: StartGateway, sandbox: Sandbox, plans: bool) -> None:
    """What could be loaded before is returned."""
    sandbox.faults.add(Fault(route="thread", body=b'{"id": "th-1"}' + b" " * 1_000))
    sandbox.faults.add(Fault(route="messages", body=b'{"messages": [], "total": 1}' + b" " * 1_000))
    document = '{ thread(id: "th-1") { id messages { totalCount } } }'
    assert start(max_upstream_bytes=2_100, plans=plans).data(document)
    found = start(max_upstream_bytes=2_000, plans=plans).query(document)
    assert found["data"] == {"thread": {"id": "th-1", "messages": None}}
    (error,) = found["errors"]
    assert error["path"] == ["thread", "messages"]
    assert error["extensions"]["code"] == "MAX_UPSTREAM_BYTES_LIMIT"
