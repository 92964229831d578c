"""Server-sent events: graphql-sse's protocol, in its distinct connections mode."""

import hashlib
import json
from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway
from tests.web.streams.responses import EVENTS, Event, events_of, streamed

THREAD = '{ thread(id: "th-1") { id } }'
RESULT = {"data": {"thread": {"id": "th-1"}}}
OPENING, COMPLETE = Event("", None), Event("complete", "")


def events(gateway: Gateway, query: str, **options: Any) -> list[Event]:
    with streamed(gateway, query, EVENTS, **options) as response:
        assert response.status_code == 200
        opening, *rest = events_of(response)
    assert opening == OPENING
    return rest


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_has_one_result_and_is_then_complete(gateway: Gateway, method: str) -> None:
    assert events(gateway, THREAD, method=method) == [Event("next", RESULT), COMPLETE]


def test_the_headers_come_at_once(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with streamed(gateway, THREAD, EVENTS) as response:
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["vary"] == "accept"
        assert "x-request-id" in response.headers
        assert "content-encoding" not in response.headers
        received = events_of(response)
        assert next(received) == OPENING
        sandbox.release("slow")
        assert list(received) == [Event("next", RESULT), COMPLETE]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", "BAD_USER_INPUT"),
    ],
)
def test_an_operation_that_does_not_begin_is_a_result_with_errors(gateway: Gateway, query: str, code: str) -> None:
    result, complete = events(gateway, query)
    assert complete == COMPLETE
    assert result.type == "next"
    assert "data" not in result.data
    assert [each["extensions"]["code"] for each in result.data["errors"]] == [code]


def test_errors_of_fields_are_in_the_result(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", status=500))
    result, complete = events(gateway, THREAD)
    assert complete == COMPLETE
    assert result.data["data"] == {"thread": None}
    assert result.data["errors"][0]["extensions"]["code"] == "UPSTREAM_ERROR"


def test_deferred_data_follows_as_further_results(start: StartGateway) -> None:
    gateway = start(incremental=True)
    first, *rest, complete = events(gateway, '{ thread(id: "th-1") { id ... @defer { status } } }')
    assert complete == COMPLETE
    assert first.data["data"] == {"thread": {"id": "th-1"}}
    assert [each.data["hasNext"] for each in (first, *rest)] == [True] * len(rest) + [False]


def test_what_is_no_request_is_an_http_error(gateway: Gateway) -> None:
    """It is refused before the response begins, as the protocol leaves to GraphQL over HTTP."""
    response = gateway.http.post("/graphql", content=b"{", headers={**EVENTS, "content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_mutation_with_get_is_refused(start: StartGateway, sandbox: Sandbox) -> None:
    write = 'mutation { updateThread(input: {id: "th-1", status: 3}) { outcome } }'
    response = start(mutations=True).http.get("/graphql", params={"query": write}, headers=EVENTS)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["errors"][0]["message"] == "Mutations cannot be sent with GET."
    assert sandbox.calls == []


def test_only_a_subscription_is_answered_in_parts(gateway: Gateway) -> None:
    headers = {"accept": "multipart/mixed;subscriptionSpec=1.0"}
    response = gateway.http.post("/graphql", json={"query": THREAD}, headers=headers)
    assert response.status_code == 406
    message = "Only a subscription has an answer of this kind: accept JSON."
    assert response.json()["errors"][0]["message"] == message


def test_an_operation_that_is_refused_is_a_result_with_the_error(gateway: Gateway) -> None:
    headers = {**EVENTS, "gateway-timeout": "soon", "x-request-id": "mine"}
    with streamed(gateway, THREAD, headers) as response:
        opening, result, complete = events_of(response)
    assert (opening, complete) == (OPENING, COMPLETE)
    assert [each["extensions"] for each in result.data["errors"]] == [{"code": "BAD_USER_INPUT", "requestId": "mine"}]


def test_a_caller_without_credentials_is_refused(start: StartGateway) -> None:
    gateway = start(upstream_identity="passthrough", inbound_auth=None)
    response = gateway.http.post("/graphql", json={"query": THREAD}, headers=EVENTS)
    assert response.status_code == 401
    assert response.headers["www-authenticate"]


def test_an_operation_counts_for_the_rate_limit(start: StartGateway) -> None:
    gateway = start(rate_limit="1/minute")
    with streamed(gateway, THREAD, EVENTS) as response:
        assert response.headers["ratelimit"].startswith('"caller";r=0')
        assert [each.type for each in events_of(response)] == ["", "next", "complete"]
    refused = gateway.http.post("/graphql", json={"query": THREAD}, headers=EVENTS)
    assert refused.status_code == 429


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json", "application/json"),
        ("application/json, text/event-stream;q=0", "application/json"),
        ("*/*", "application/json"),
        ('multipart/mixed;x="a,text/event-stream", application/json', "application/json"),
    ],
)
def test_a_query_is_streamed_to_a_client_that_prefers_it(gateway: Gateway, accept: str, expected: str) -> None:
    response = gateway.http.post("/graphql", json={"query": THREAD}, headers={"accept": accept})
    assert response.headers["content-type"].split(";")[0] == expected


def test_a_client_that_hangs_up_ends_the_operation(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="for ever"))
    with streamed(gateway, THREAD, EVENTS) as response:
        received = events_of(response)  # kept, since to drop it closes the response
        assert next(received) == OPENING
        sandbox.wait_for_calls(1, "thread")
    sandbox.wait_until_idle()


def test_a_batch_is_no_stream(start: StartGateway) -> None:
    gateway = start(max_batch=2)
    response = gateway.http.post("/graphql", json=[{"query": THREAD}], headers=EVENTS)
    assert response.status_code == 406
    message = "A batch is answered with JSON: accept application/json or application/graphql-response+json."
    assert response.json()["errors"][0]["message"] == message
    for accept in ("text/event-stream, application/json;q=0.1", "text/event-stream, */*;q=0.5"):
        response = gateway.http.post("/graphql", json=[{"query": THREAD}] * 2, headers={"accept": accept})
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "application/json")
        assert len(response.json()) == 2


def test_persisted_documents_are_found(gateway: Gateway) -> None:
    digest = hashlib.sha256(THREAD.encode()).hexdigest()
    extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": digest}})
    unknown, _complete = _get(gateway, {"extensions": extensions})
    assert unknown.data["errors"][0]["message"] == "PersistedQueryNotFound"
    for parameters in ({"query": THREAD, "extensions": extensions}, {"extensions": extensions}):
        assert _get(gateway, parameters) == [Event("next", RESULT), COMPLETE]


def _get(gateway: Gateway, parameters: dict[str, str]) -> list[Event]:
    with gateway.http.stream("GET", "/graphql", params=parameters, headers=EVENTS) as response:
        return list(events_of(response))[1:]
