"""Several operations in one POST."""

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.errors import Unauthenticated
from gateway.execution.operation import Operation
from gateway.execution.result import Result
from gateway.sandbox import Fault, Sandbox
from gateway.web.graphql.batching import Batch, run_batch
from tests.harness import Gateway, StartGateway


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(max_batch=3)


def post(gateway: Gateway, operations: list[Any], **headers: str) -> httpx.Response:
    return gateway.http.post("/graphql", json=operations, headers=headers)


def thread(ident: str) -> dict[str, Any]:
    return {"query": "query ($id: ID!) { thread(id: $id) { id } }", "variables": {"id": ident}}


def answer(ident: str) -> dict[str, Any]:
    return {"data": {"thread": {"id": ident}}}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batch_up_to_the_maximum_is_answered_in_order(gateway: Gateway, count: int) -> None:
    idents = [f"th-{number}" for number in range(1, count + 1)]
    response = post(gateway, [thread(each) for each in idents])
    assert (response.status_code, response.json()) == (200, [answer(each) for each in idents])
    assert response.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("count", "entries", "code"),
    [
        (4, 4, "MAX_BATCH_LIMIT"),
        (100, 100, "MAX_BATCH_LIMIT"),
        (101, None, "MAX_BATCH_LIMIT"),
        (0, None, "BAD_USER_INPUT"),
    ],
)
def test_an_empty_or_too_large_batch_is_refused_without_a_call(
    gateway: Gateway, sandbox: Sandbox, count: int, entries: int | None, code: str
) -> None:
    """Clients show the message of an array with an entry for each operation. A long batch gets no long response."""
    response = post(gateway, [thread(f"th-{number}") for number in range(count)])
    assert response.status_code == 400
    body = response.json()
    assert (len(body) if isinstance(body, list) else None) == entries
    for each in [body] if entries is None else body:
        assert each["errors"][0]["message"] == f"A batch has 1 to 3 operations, not {count}."
        assert each["errors"][0]["extensions"]["code"] == code
    assert sandbox.count() == 0


def test_the_members_run_at_the_same_time(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="all"))
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(post, gateway, [thread(f"th-{number}") for number in (1, 2, 3)])
        sandbox.wait_for_calls(3, "thread")
        sandbox.release("all")
        assert answers.result().json() == [answer(f"th-{number}") for number in (1, 2, 3)]


def test_each_member_has_its_own_errors_and_the_status_is_200(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", status=403))
    for accept in ("application/json", "application/graphql-response+json"):
        response = post(gateway, [thread("th-1"), {"query": "{ nothing }"}, {"variables": {}}], accept=accept)
        assert response.status_code == 200
        assert response.headers["content-type"] == f"{accept}; charset=utf-8"
        failed, invalid, empty = response.json()
        assert failed["data"] == {"thread": None}
        codes = [each["errors"][0]["extensions"]["code"] for each in (failed, invalid, empty)]
        assert codes == ["FORBIDDEN", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"]
        assert {each["errors"][0]["extensions"]["requestId"] for each in (failed, invalid, empty)} == {
            response.headers["x-request-id"]
        }


def test_a_wrong_or_unknown_hash_fails_only_its_member(gateway: Gateway) -> None:
    extension = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    wrong, unknown, right = post(
        gateway, [{"query": "{ __typename }", "extensions": extension}, {"extensions": extension}, thread("th-1")]
    ).json()
    assert wrong["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert unknown["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert right == answer("th-1")


@pytest.mark.parametrize("member", [None, "query", [], [{"query": "{ __typename }"}]])
def test_a_member_that_is_not_an_object_is_400(gateway: Gateway, member: Any) -> None:
    response = post(gateway, [thread("th-1"), member])
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"] == "A batch is a JSON array of objects with `query`."


def test_a_refused_request_refuses_the_whole_batch(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(
        max_batch=3,
        upstream_identity="passthrough",
        upstream_username=None,
        upstream_password=None,
        inbound_auth=None,
    )
    assert post(gateway, [thread("th-1"), thread("th-2")]).status_code == 401
    headers = {"authorization": "Bearer x", "gateway-timeout": "soon"}
    assert post(gateway, [thread("th-1"), thread("th-2")], **headers).status_code == 400
    assert sandbox.count() == 0


async def test_no_operation_runs_on_behind_the_refusal_of_its_batch() -> None:
    """Its calls, its log line and its count end before the response, as if it were alone."""
    first, second = (Operation(document) for document in ("first", "second"))
    gate, ended = asyncio.Event(), []

    async def execute(operation: Operation) -> Result:
        if operation is first:
            raise Unauthenticated
        await gate.wait()
        ended.append(operation)
        return Result({})

    batch = asyncio.create_task(run_batch(Batch((first, second)), execute, "r-1"))
    for _ in range(10):  # turns of the event loop
        await asyncio.sleep(0)
    assert not batch.done()
    gate.set()
    with pytest.raises(Unauthenticated):
        await batch
    assert ended == [second]


@pytest.mark.parametrize("count", [1, 2])
def test_batching_is_off_by_default(start: StartGateway, count: int) -> None:
    response = post(start(), [thread("th-1")] * count)
    assert response.status_code == 400
    first, *others = response.json()
    assert others == [first] * (count - 1)
    assert "set GATEWAY_MAX_BATCH above 1" in first["errors"][0]["message"]


def test_a_client_that_hangs_up_ends_all_operations_of_its_batch(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="for ever"))
    body = json.dumps([thread("th-1"), thread("th-2")])
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
        client.sendall((head + body).encode())
        sandbox.wait_for_calls(2, "thread")
    sandbox.wait_until_idle()
    assert [call.cancelled for call in sandbox.calls if call.route == "thread"] == [True, True]


def test_a_single_operation_is_answered_without_a_list(gateway: Gateway) -> None:
    assert gateway.http.post(
        "/graphql", content=json.dumps(thread("th-1")), headers={"content-type": "application/json"}
    ).json() == answer("th-1")


def test_a_query_string_cannot_hold_a_batch(gateway: Gateway) -> None:
    response = gateway.http.get("/graphql", params={"query": json.dumps([thread("th-1")])})
    assert response.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
