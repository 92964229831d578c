"""Incremental delivery: ``@defer`` and ``@stream``."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import httpx
import pytest

from gateway.sandbox import ABSENT, Fault, Sandbox
from gateway.schema.resolvers.budget import MAX_PARTS
from tests.harness import Gateway, StartGateway

OLDER_FORM = "multipart/mixed;deferSpec=20220824, application/json"
ACCEPTS_MULTIPART = {"accept": OLDER_FORM}
DEFERRED = '{ thread(id: "th-1") { id ... @defer(label: "later") { messages(first: 1) { totalCount } } } }'
WHOLE = '{ thread(id: "th-1") { id messages(first: 1) { totalCount } } }'


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(incremental=True)


@contextmanager
def parts_of(
    gateway: Gateway, document: str, headers: dict[str, str] = ACCEPTS_MULTIPART
) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the parts of a response as they arrive; each is complete when the next boundary is there."""
    with gateway.http.stream("POST", "/graphql", json={"query": document}, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == 'multipart/mixed; boundary="-"'
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["vary"] == "accept"
        assert response.headers["x-accel-buffering"] == "no"
        assert "x-request-id" in response.headers
        yield _parts(response)


def _parts(response: httpx.Response) -> Iterator[dict[str, Any]]:
    text = b""
    begun = False
    for chunk in response.iter_bytes():
        text += chunk
        *complete, text = text.split(b"\r\n---") if begun else text.removeprefix(b"---").split(b"\r\n---")
        begun = True
        for part in complete:
            head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            assert head == b"Content-Type: application/json; charset=utf-8"
            yield json.loads(body)
    assert text == b"--\r\n"


def applied(parts: list[dict[str, Any]]) -> Any:
    """Merge the parts by their paths, as a client of the older form does: that of ``items`` ends with an index."""
    parts = deepcopy(parts)
    data = parts[0]["data"]
    for part in parts[1:]:
        for each in part.get("incremental", ()):
            if "items" in each:
                *path, start = each["path"]
                target = _at(data, path)
                assert len(target) == start
                target[start:] = each["items"]
            else:
                _at(data, each["path"]).update(each["data"])
    return data


def applied_by_id(parts: list[dict[str, Any]]) -> Any:
    """Merge the parts by the ids of what was pending, as a client of the newer form does."""
    parts = deepcopy(parts)
    data = parts[0]["data"]
    pending: dict[str, dict[str, Any]] = {}
    for part in parts:
        pending.update({each["id"]: each for each in part.get("pending", ())})
        for each in part.get("incremental", ()):
            target = _at(data, [*pending[each["id"]]["path"], *each.get("subPath", ())])
            if "items" in each:
                target.extend(each["items"])
            else:
                target.update(each["data"])
    return data


def _at(data: Any, path: list[str | int]) -> Any:
    for step in path:
        data = data[step]
    return data


def errors_of(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the errors of all parts without their request id and locations, in the order of their paths."""
    found = list(parts[0].get("errors", ()))
    for part in parts[1:]:
        for each in (*part.get("incremental", ()), *part.get("completed", ())):
            found += each.get("errors", ())
    shown = [{"path": each["path"], "code": each["extensions"]["code"]} for each in found]
    return sorted(shown, key=lambda each: str(each["path"]))


def test_a_deferred_fragment_is_sent_when_it_is_ready(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", hold="slow"))
    with parts_of(gateway, DEFERRED) as parts:
        first = next(parts)
        assert first["data"] == {"thread": {"id": "th-1"}}
        assert first["hasNext"] is True
        (pending,) = first["pending"]
        assert pending == {"id": pending["id"], "path": ["thread"], "label": "later"}
        sandbox.wait_for_calls(1, "messages")
        sandbox.release("slow")
        rest = list(parts)
    assert rest[-1]["hasNext"] is False
    (incremental,) = (each for part in rest for each in part.get("incremental", ()))
    assert (incremental["id"], incremental["path"]) == (pending["id"], ["thread"])
    assert incremental["label"] == "later"
    assert [each["id"] for part in rest for each in part.get("completed", ())] == [pending["id"]]
    assert applied([first, *rest]) == gateway.data(WHOLE)


@pytest.mark.parametrize("between", [" ", ",", "\t\n", "# a comment\n", "\ufeff"])
def test_a_directive_may_have_ignored_tokens_after_its_at_sign(gateway: Gateway, between: str) -> None:
    """Tokens between ``@`` and the name are ignored (GraphQL spec, section 2.1.7)."""
    spaced = DEFERRED.replace("@defer", f"@{between}defer")
    with parts_of(gateway, spaced) as parts:
        assert applied(list(parts)) == gateway.data(WHOLE)
    assert gateway.data(spaced) == gateway.data(WHOLE)
    streamed = '{ threads(ids: ["th-1", "th-2"]) @@stream { id } }'.replace("@@", f"@{between}")
    assert gateway.data(streamed) == {"threads": [{"id": "th-1"}, {"id": "th-2"}]}


def test_a_spaced_directive_does_not_fail_the_rest_of_its_batch(start: StartGateway) -> None:
    gateway = start(incremental=True, max_batch=2)
    batch = [{"query": DEFERRED.replace("@", "@ ")}, {"query": WHOLE}]
    response = gateway.http.post("/graphql", json=batch)
    assert response.json() == [{"data": gateway.data(WHOLE)}] * 2


def test_the_name_of_a_directive_elsewhere_has_no_effect(gateway: Gateway) -> None:
    document = '{ defer: thread(id: "@stream") { id } } # @defer'
    response = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {"data": {"defer": None}}


STREAMED = 'query ($n: Int) { threads(ids: ["th-1", "th-2"]) @stream(initialCount: $n) { id } }'


@pytest.mark.parametrize("headers", [ACCEPTS_MULTIPART, {}], ids=["multipart", "json"])
@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ('{ threads(ids: ["th-1"]) { id } again: threads(ids: ["th-1"]) @stream(initialCount: -1) { id } }', {}),
        (STREAMED, {"n": -1}),
        (STREAMED, {"n": None}),
        (STREAMED.replace("Int)", "Int = -1)"), {}),
    ],
    ids=["written", "a variable", "null", "a default"],
)
def test_a_negative_initial_count_is_the_clients_error(
    gateway: Gateway, sandbox: Sandbox, document: str, variables: dict[str, Any], headers: dict[str, str]
) -> None:
    body = {"query": document, "variables": variables}
    response = gateway.http.post("/graphql", json=body, headers=headers)
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"] == "`initialCount` of @stream must be a number of items: 0 or more."
    assert error["locations"]
    assert sandbox.count() == 0


def test_an_unused_initial_count_is_not_checked(gateway: Gateway) -> None:
    document = '{ threads(ids: ["th-1"]) @stream(initialCount: -1, if: false) { id } }'
    response = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART)
    assert response.json() == {"data": {"threads": [{"id": "th-1"}]}}


def test_a_list_is_streamed(gateway: Gateway) -> None:
    with parts_of(gateway, '{ threads(ids: ["th-1", "th-2", "nowhere"]) @stream(initialCount: 1) { id } }') as parts:
        first, *rest = parts
    assert first["data"] == {"threads": [{"id": "th-1"}]}
    assert applied([first, *rest]) == {"threads": [{"id": "th-1"}, {"id": "th-2"}, None]}
    assert rest[-1]["hasNext"] is False


INCREMENTAL = {
    "a list from its first item on": '{ threads(ids: ["th-1", "th-2", "th-3", "th-4"]) @stream { id } }',
    "after two items": '{ threads(ids: ["th-1", "th-2", "th-3", "th-4"]) @stream(initialCount: 2) { id } }',
    "more at first than there are": '{ threads(ids: ["th-1", "th-2"]) @stream(initialCount: 9) { id } }',
    "a missing and a failing item": """{ threads(ids: ["th-1", "nowhere", "th-101", "th-2"]) @stream(initialCount: 1)
        { id } }""",
    "two lists under aliases": """{ a: threads(ids: ["th-1", "th-2", "th-3"]) @stream(initialCount: 1) { id }
        b: threads(ids: ["th-3", "th-2", "th-1"]) @stream(initialCount: 2) { tags } }""",
    "a list in a streamed item": """{ threads(ids: ["th-1", "th-2", "th-1"]) @stream(initialCount: 1) { id
        lastMessage { attachments @stream(initialCount: 1) { id fileName } } } }""",
    "a list in a deferred object": """{ thread(id: "th-1") { id ... @defer { messages { nodes @stream(initialCount: 2)
        { id } } } } }""",
    "a deferred object in a streamed item": """{ threads(ids: ["th-1", "th-101", "th-2"]) @stream { id ... @defer(label:
        "later") { messages { totalCount nodes @stream(initialCount: 1) { id subject } } } } }""",
    "a list of lists' owners": """{ thread(id: "th-1") { customers @stream { id nameVariations @stream(initialCount: 1)
        { lastName } } } }""",
    "deferred in deferred": """{ thread(id: "th-1") { id ... @defer(label: "outer") { status lastMessage { id
        ... @defer(label: "inner") { subject attachments { id fileName } } } } } }""",
    "two deferred that share fields": """{ thread(id: "th-1") {
        ... @defer(label: "a") { status lastMessage { id } messages(first: 1) { totalCount } }
        ... @defer(label: "b") { lastMessage { id subject } messages(first: 1) { totalCount nodes { id } } } } }""",
    "fields that were sent at first": """{ thread(id: "th-1") { lastMessage { id attachments { id } }
        ... @defer { lastMessage { id subject attachments { id fileSize } } status } } }""",
    "everything deferred": """{ ...All @defer } fragment All on Query { thread(id: "th-1") { id ...Rest @defer }
        failing: thread(id: "th-101") { id } } fragment Rest on Thread { tags messages { totalCount } }""",
    "switched on and off by variables": """query ($yes: Boolean = true, $no: Boolean! = false, $count: Int = 1) {
        a: threads(ids: ["th-1", "th-2"]) @stream(if: $no, initialCount: $count) { id ... @defer(if: $yes) { tags } }
        b: threads(ids: ["th-1", "th-2"]) @stream(if: $yes, initialCount: $count) { id ... @defer(if: $no) { tags } }
        }""",
    "all items at first": """{ threads(ids: ["th-1", "nowhere", "th-2"]) @stream(initialCount: 3) { id
        ... @defer { messages { totalCount } } } }""",
    "no items and no list": """{ threads(ids: []) @stream { id } a: thread(id: "nowhere") { customers @stream { id } }
        b: thread(id: "th-101") { customers @stream { id } } c: thread(id: "th-100") { id ... @defer { tags } } }""",
    "failing and missing parts of a streamed list": """{ threads(ids: ["nowhere", "th-2", "th-101", "th-1", "th-2"])
        @stream(initialCount: 1, label: "list") { id lastMessage { id ... @defer(label: "text") { content } }
        ... @defer(label: "page") { messages(last: 1) { nodes { id } } } } }""",
}


@pytest.mark.parametrize("document", INCREMENTAL.values(), ids=INCREMENTAL)
def test_the_merged_parts_equal_the_whole_response(gateway: Gateway, sandbox: Sandbox, document: str) -> None:
    """In the older form and in the newer one, errors included."""
    sandbox.faults.add(Fault("thread", "th-101", status=500), Fault("messages", "th-2", status=403))
    whole = gateway.http.post("/graphql", json={"query": document}).json()
    response = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART)
    if response.headers["content-type"].startswith("application/json"):
        assert response.json()["data"] == whole["data"]
        return
    with parts_of(gateway, document) as arriving:
        parts = list(arriving)
    assert applied(parts) == applied_by_id(parts) == whole["data"]
    assert errors_of(parts) == errors_of([whole])


BROKEN = {
    "a deferred list": '{ thread(id: "th-100") { id messages { totalCount ... @defer { nodes { id } } } } }',
    "a streamed list": '{ thread(id: "th-100") { id messages { totalCount nodes @stream { id } } } }',
    "a streamed list under way": """{ thread(id: "th-100") { id messages { totalCount nodes @stream(initialCount: 1)
        { id } } } }""",
}
"""Parts that a null removes as a whole, because the second message has no id."""


@pytest.mark.parametrize("document", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("names_newer_form", [False, True])
def test_the_errors_of_a_part_without_data_are_where_the_client_reads_them(
    gateway: Gateway, sandbox: Sandbox, document: str, names_newer_form: bool
) -> None:
    """Clients of the older form read no ``completed``. One of the newer form would show the errors twice."""
    sandbox.faults.add(Fault("messages", "th-100", patch={"messages.1.id": ABSENT}))
    accept = "multipart/mixed;incrementalSpec=v0.2, application/json" if names_newer_form else OLDER_FORM
    with parts_of(gateway, document, {"accept": accept}) as arriving:
        first, *rest = arriving
    (completed,) = (each for part in rest for each in part.get("completed", ()) if "errors" in each)
    assert [each["extensions"]["code"] for each in completed["errors"]] == ["UPSTREAM_INVALID_RESPONSE"]
    entries = [each for part in rest for each in part.get("incremental", ()) if "errors" in each]
    (pending,) = first["pending"]
    assert entries == ([] if names_newer_form else [{**completed, "path": pending["path"]}])


@pytest.mark.parametrize(
    "document",
    [
        """{ threads(ids: ["th-1", "th-2"]) @stream { id lastMessage { attachments @stream { id } } } }""",
        """{ threads(ids: ["th-1", "th-2"]) @stream { ...A } } fragment A on Thread { ...B }
            fragment B on Thread { lastMessage { attachments @stream { id } } }""",
    ],
    ids=["written inside", "in fragments"],
)
def test_a_list_in_a_streamed_item_is_sent_with_the_item(gateway: Gateway, document: str) -> None:
    """Apollo Client 4 loses the items of a stream that begins in an item of another one."""
    with parts_of(gateway, document) as arriving:
        parts = list(arriving)
    pending = [each["path"] for part in parts for each in part.get("pending", ())]
    assert pending == [["threads"]]
    assert applied(parts)["threads"][0]["lastMessage"]["attachments"][2] == {"id": "at-3"}


def test_a_list_beside_a_streamed_one_is_streamed(gateway: Gateway) -> None:
    document = """{ threads(ids: ["th-1"]) @stream { id } thread(id: "th-1") { lastMessage { ...A } } }
        fragment A on Message { attachments @stream(initialCount: 1) { id } }"""
    with parts_of(gateway, document) as arriving:
        pending = [each["path"] for part in arriving for each in part.get("pending", ())]
    assert sorted(pending) == [["thread", "lastMessage", "attachments"], ["threads"]]


def test_a_later_failure_has_its_code_and_the_other_data_stays(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", status=403))
    with parts_of(gateway, DEFERRED) as parts:
        first, *rest = parts
    assert first["data"] == {"thread": {"id": "th-1"}}
    (incremental,) = (each for part in rest for each in part.get("incremental", ()))
    assert incremental["data"] == {"messages": None}
    (error,) = incremental["errors"]
    assert error["path"] == ["thread", "messages"]
    assert (error["extensions"]["code"], "requestId" in error["extensions"]) == ("FORBIDDEN", True)


def test_no_call_is_made_twice(gateway: Gateway, sandbox: Sandbox) -> None:
    document = '{ thread(id: "th-1") { id } ... @defer { again: thread(id: "th-1") { status } } }'
    with parts_of(gateway, document) as parts:
        assert applied(list(parts))["again"]["status"] == "Open"
    assert sandbox.count("thread") == 1


@pytest.mark.parametrize("accept", ["application/json", "*/*", "multipart/mixed;q=0, application/json"])
def test_a_client_that_does_not_accept_multipart_gets_one_response(gateway: Gateway, accept: str) -> None:
    response = gateway.http.post("/graphql", json={"query": DEFERRED}, headers={"accept": accept})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {"data": gateway.data(WHOLE)}


@pytest.mark.parametrize(
    "document",
    [WHOLE, '{ thread(id: "th-1") { id ... @defer(if: false) { messages(first: 1) { totalCount } } } }'],
)
def test_a_response_of_one_part_is_plain_json(gateway: Gateway, document: str) -> None:
    response = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {"data": gateway.data(WHOLE)}


def test_a_request_error_is_plain_json(gateway: Gateway) -> None:
    document = "query ($id: ID!) { thread(id: $id) { ... @defer { id } } }"
    response = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART)
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert "data" not in response.json()


def test_the_members_of_a_batch_are_not_incremental(start: StartGateway) -> None:
    gateway = start(incremental=True, max_batch=2)
    response = gateway.http.post("/graphql", json=[{"query": DEFERRED}], headers=ACCEPTS_MULTIPART)
    assert response.json() == [{"data": gateway.data(WHOLE)}]


def test_a_client_that_hangs_up_between_parts_ends_the_operation(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", hold="for ever"))
    host, port = gateway.url.removeprefix("http://").split(":")
    body = json.dumps({"query": DEFERRED}).encode()
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = (
            f"POST /graphql HTTP/1.1\r\nhost: x\r\naccept: {ACCEPTS_MULTIPART['accept']}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        received = b""
        while b"hasNext" not in received:
            received += client.recv(4096)
        sandbox.wait_for_calls(1, "messages")
    sandbox.wait_until_idle()
    assert [call.cancelled for call in sandbox.calls if call.route == "messages"] == [True]


def test_without_the_setting_the_schema_lacks_both_directives(start: StartGateway) -> None:
    response = start().http.post("/graphql", json={"query": DEFERRED}, headers=ACCEPTS_MULTIPART)
    assert response.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "@defer" in response.json()["errors"][0]["message"]


def test_a_response_has_a_limited_number_of_deferred_parts(gateway: Gateway, sandbox: Sandbox) -> None:
    """All are announced together, and nobody else is served meanwhile."""
    document = '{ thread(id: "th-1") { customers { ... @defer { firstName } } } }'
    customers = [{"id": "1", "first_name": "A"}] * MAX_PARTS
    for more in ([], customers[:1]):
        body = json.dumps({"id": "th-1", "customers": customers + more}).encode()
        sandbox.faults.add(Fault("thread", body=body, times=1))
    with parts_of(gateway, document) as parts:
        assert applied(list(parts)) == {"thread": {"customers": [{"firstName": "A"}] * MAX_PARTS}}
    refused = gateway.http.post("/graphql", json={"query": document}, headers=ACCEPTS_MULTIPART).json()
    assert refused["data"] is None
    assert refused["errors"][0]["extensions"]["code"] == "MAX_RESPONSE_LIMIT"


def test_the_first_part_lists_the_rest_calls_that_were_made_for_it(start: StartGateway) -> None:
    headers = {**ACCEPTS_MULTIPART, "gateway-explain": "1"}
    with parts_of(start(incremental=True, explain=True), DEFERRED, headers) as parts:
        call, *_ = next(parts)["extensions"]["upstream"]
    assert (call["route"], call["status"]) == ("/api/v1/thread/{id}", 200)
