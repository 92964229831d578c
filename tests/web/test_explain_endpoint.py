"""``POST /graphql/explain``: the REST calls of an operation are predicted, and none is made."""

import hashlib
from collections import Counter
from typing import Any

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway

THREAD = "/api/v1/thread/{id}"
MESSAGES = "/api/v1/thread/{id}/messages"
CUSTOMER = "/api/v1/customers/{customer_external_id}"
ID = {"x-request-id": "the-same"}
JSON_TYPES = "application/json or application/graphql-response+json"

ENTITIES = """query ($a: [_Any!]!) { _entities(representations: $a) {
  ... on Thread { messages { totalCount } } ... on Customer { id } } }"""
REPRESENTATIONS = [
    {"__typename": "Thread", "id": "th-1"},
    {"__typename": "Customer", "externalId": "cu-1"},
    {"__typename": "Thread", "id": "th-1"},
]

# The document, its variables, and the fields that cause the calls of each route.
CAUSES: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, int]]]] = {
    "a thread": ('{ thread(id: "th-1") { id customers { id } } }', {}, {THREAD: {"thread": 1}}),
    "a list": (
        "query ($a: [ID!]!) { threads(ids: $a) { id } }",
        {"a": ["th-1", "th-2", "th-1"]},
        {THREAD: {"threads": 2}},
    ),
    "nested": (
        '{ thread(id: "th-1") { customers { who: profile { customer { id } } } } }',
        {},
        {THREAD: {"thread": 1}, CUSTOMER: {"thread.customers.who": 3}},
    ),
    "aliases with equal ids": (
        '{ a: thread(id: "th-1") { id } b: thread(id: "th-1") { tags } }',
        {},
        {THREAD: {"a": 1, "b": 1}},
    ),
    "aliases with other ids": (
        '{ a: thread(id: "th-1") { id } b: thread(id: "th-2") { tags } }',
        {},
        {THREAD: {"a": 1, "b": 1}},
    ),
    "entities": (
        ENTITIES,
        {"a": REPRESENTATIONS},
        {
            THREAD: {"_entities": 1},
            MESSAGES: {"_entities.messages": 1},
            CUSTOMER: {"_entities": 1},
        },
    ),
    "pages of messages": (
        """{ thread(id: "th-1") {
             ...F again: messages(first: 20) { totalCount } two: messages(first: 2) { totalCount } } }
           fragment F on Thread { messages { totalCount } }""",
        {},
        {THREAD: {"thread": 1}, MESSAGES: {"thread.messages": 1, "thread.again": 1, "thread.two": 1}},
    ),
    "a mutation": (
        'mutation { createChatToken(input: {externalId: "cu-1"}) { outcome token } }',
        {},
        {"/api/v1/chat/token": {"createChatToken": 1}},
    ),
    "a skipped field": (
        'query ($no: Boolean!) { thread(id: "th-1") { id messages @include(if: $no) { totalCount } } }',
        {"no": False},
        {THREAD: {"thread": 1}},
    ),
    "nothing": ("{ __typename }", {}, {}),
}


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(explain=True, mutations=True, cost_list_size=3)


def ask(gateway: Gateway, path: str, document: str | None, variables: Any = None, **more: Any) -> httpx.Response:
    body = {"query": document, "variables": variables, **more}
    return gateway.http.post(path, json=body, headers={**ID, "gateway-explain": "1"})


def explained(gateway: Gateway, document: str | None, variables: Any = None, **more: Any) -> dict[str, Any]:
    response = ask(gateway, "/graphql/explain", document, variables, **more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def causes(answer: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        call["route"]: {".".join(field["path"]): field["predicted"] for field in call["fields"]}
        for call in answer["calls"]
    }


def by_route(answer: dict[str, Any]) -> Counter[str]:
    return Counter({call["route"]: call["predicted"] for call in answer["calls"]})


def test_the_prediction_names_the_fields_and_equals_what_is_made(gateway: Gateway, sandbox: Sandbox) -> None:
    for name, (document, variables, expected) in CAUSES.items():
        calls = sandbox.count()
        answer = explained(gateway, document, variables)
        assert sandbox.count() == calls, name
        assert causes(answer) == expected, name
        made = ask(gateway, "/graphql", document, variables)
        assert "errors" not in made.json(), name
        assert by_route(answer) == Counter(call["route"] for call in made.json()["extensions"]["upstream"]), name
        total = by_route(answer).total()
        assert made.headers["gateway-cost"] == f"predicted={total}, made={total}", name
        assert answer["cost"] == {"predicted": total, "limit": 1000, "mode": "enforce", "listSize": 3}, name


def test_a_mutation_is_predicted_with_everything_that_its_doubt_may_cost(gateway: Gateway, sandbox: Sandbox) -> None:
    document = """mutation ($i: UpdateThreadInput!) {
        a: updateThread(input: $i) { thread { messages { totalCount } } } b: updateThread(input: $i) { outcome } }"""
    answer = explained(gateway, document, {"i": {"id": "th-1", "status": 3}})
    assert answer["operation"] == {"type": "mutation", "name": None}
    assert [(call["method"], call["route"], call["predicted"]) for call in answer["calls"]] == [
        ("POST", THREAD, 2),
        ("GET", THREAD, 7),
        ("GET", MESSAGES, 1),
    ]
    reads = {".".join(field["path"]): field["predicted"] for field in answer["calls"][1]["fields"]}
    assert reads == {"a": 3, "a.thread": 1, "b": 3}
    made = ask(gateway, "/graphql", document, {"i": {"id": "th-1", "status": 3}})
    assert len(made.json()["extensions"]["upstream"]) <= answer["cost"]["predicted"] == 10
    assert sandbox.count("update_thread") == 2


def test_a_subscription_is_predicted_by_its_result(gateway: Gateway) -> None:
    document = "subscription Watch($ids: [ID!]!) { threadsUpdated(ids: $ids) { messages { totalCount } } }"
    answer = explained(gateway, document, {"ids": ["th-1", "th-2", "th-1"]})
    assert answer["operation"] == {"type": "subscription", "name": "Watch"}
    assert (answer["cost"]["predicted"], answer["firstResults"]) == (2, 2)
    assert causes(answer) == {THREAD: {"threadsUpdated": 1}, MESSAGES: {"threadsUpdated.messages": 1}}


def test_a_subscription_with_one_first_result_may_cost_as_much_as_a_query(start: StartGateway) -> None:
    document = 'subscription { threadUpdated(id: "th-1") { messages { totalCount } } }'
    answer = explained(start(explain=True, max_cost=2), document)
    assert "errors" not in answer
    assert (answer["cost"]["predicted"], answer["firstResults"]) == (2, 1)


def test_what_a_response_has_is_not_known_before(gateway: Gateway, sandbox: Sandbox) -> None:
    """What does not exist or fails is predicted with everything below it."""
    sandbox.faults.add(Fault("thread", times=1, status=422))
    failing = '{ thread(id: "th-1") { messages { totalCount } } }'
    missing = '{ thread(id: "nowhere") { messages { totalCount } } }'
    for document in (failing, missing):
        predicted = by_route(explained(gateway, document))
        made = ask(gateway, "/graphql", document).json()["extensions"]["upstream"]
        assert predicted == {THREAD: 1, MESSAGES: 1}
        assert [call["route"] for call in made] == [THREAD]


def test_what_is_cached_is_predicted_as_well(start: StartGateway) -> None:
    gateway = start(explain=True, cache_url="memory://")
    document = '{ thread(id: "th-1") { messages { totalCount } } }'
    for source in ("fetched", "cached"):
        predicted = by_route(explained(gateway, document))
        made = ask(gateway, "/graphql", document).json()["extensions"]["upstream"]
        assert predicted == Counter(call["route"] for call in made)
        assert {call["source"] for call in made} == {source}


def test_an_operation_that_costs_too_much_is_explained_beside_its_error(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(explain=True, max_cost=2)
    document, variables = "query ($a: [ID!]!) { threads(ids: $a) { id } }", {"a": ["1", "2", "3", "4"]}
    answer = explained(gateway, document, variables)
    assert answer["errors"] == ask(gateway, "/graphql", document, variables).json()["errors"]
    assert answer["errors"][0]["extensions"]["code"] == "MAX_COST_LIMIT"
    assert answer["cost"] == {"predicted": 3, "limit": 2, "mode": "enforce", "listSize": 5, "orMore": True}
    assert by_route(answer) == {THREAD: 3}
    assert sandbox.count() == 0
    subscription = 'subscription { threadsUpdated(ids: ["1", "2", "3"]) { id } }'
    answer = explained(gateway, subscription)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["MAX_COST_LIMIT"]


@pytest.mark.parametrize(("mode", "limit"), [("off", None), ("measure", 1)])
def test_without_enforcement_it_is_only_predicted(start: StartGateway, mode: str, limit: int | None) -> None:
    answer = explained(start(explain=True, max_cost=limit, cost_mode=mode), CAUSES["aliases with other ids"][0])
    assert "errors" not in answer
    assert (answer["cost"]["predicted"], answer["cost"]["mode"]) == (2, mode)


INVALID: dict[str, dict[str, Any]] = {
    "no GraphQL": {"query": "{"},
    "an unknown field": {"query": "{ threat }"},
    "too deep": {"query": "{ " + "a { " * 200 + "b" + " }" * 200 + " }"},
    "an unknown operation": {"query": "query A { __typename }", "operationName": "B"},
    "several operations": {"query": "query A { __typename } query B { __typename }"},
    "a missing variable": {"query": "query ($a: ID!) { thread(id: $a) { id } }"},
    "a wrong variable": {"query": "query ($a: ID!) { thread(id: $a) { id } }", "variables": {"a": {}}},
    "an unknown hash": {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
    "another document's hash": {
        "query": "{ __typename }",
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}},
    },
    "an unknown id": {"documentId": "sha256:" + "0" * 64},
    "no query": {"variables": {}},
    "a query that is no text": {"query": 1},
    "an array": [],  # type: ignore[dict-item]  # it is no object
    "variables that are no object": {"query": "{ __typename }", "variables": []},
}


def test_an_invalid_request_gets_the_same_response_as_from_the_endpoint(gateway: Gateway) -> None:
    for name, body in INVALID.items():
        for accept in ("application/json", "application/graphql-response+json"):
            one, other = (
                gateway.http.post(path, json=body, headers={**ID, "accept": accept})
                for path in ("/graphql", "/graphql/explain")
            )
            assert other.json()["errors"], name
            assert (one.status_code, one.json()) == (other.status_code, other.json()), name
            assert one.headers["content-type"] == other.headers["content-type"]


def test_requests_of_another_form_are_refused(gateway: Gateway) -> None:
    def status(method: str, **given: Any) -> int:
        return gateway.http.request(method, "/graphql/explain", **given).status_code

    def message(method: str, **given: Any) -> str:
        return str(gateway.http.request(method, "/graphql/explain", **given).json()["errors"][0]["message"])

    json = {"content-type": "application/json"}
    assert status("POST", content="{", headers=json) == 400
    assert status("POST", content='{"query": "{ __typename }"}', headers={"content-type": "text/plain"}) == 415
    assert status("POST", files={"a": b"b"}) == 403, "a page of another site can send a form"
    form = {"files": {"a": b"b"}, "headers": {"gateway-require-preflight": "1"}}
    assert status("POST", **form) == 415
    assert message("POST", **form) == "A prediction is asked for with JSON: send null in place of each file."
    for_events = {"json": {"query": "{ __typename }"}, "headers": {"accept": "text/event-stream"}}
    assert status("POST", **for_events) == 406
    assert message("POST", **for_events) == f"A prediction is answered with JSON: accept {JSON_TYPES}."
    prefers_events = {"accept": "text/event-stream, application/json;q=0.1"}
    assert status("POST", json={"query": "{ __typename }"}, headers=prefers_events) == 200
    assert status("GET", params={"query": "{ __typename }"}, headers={"sec-fetch-site": "cross-site"}) == 403
    response = gateway.http.get("/graphql/explain", params={"query": "{ __typename }"})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert message("GET", params={"query": "{ __typename }"}) == "A prediction is asked for with POST."


def test_it_exists_only_where_the_gateway_explains(start: StartGateway) -> None:
    response = ask(start(graphiql=True), "/graphql/explain", "{ __typename }")
    assert response.status_code == 404


def test_a_document_is_named_by_its_hash_and_not_registered(gateway: Gateway) -> None:
    document = '{ thread(id: "th-1") { id } }'
    named = {
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(document.encode()).hexdigest()}}
    }
    explained(gateway, document, **named)
    unknown = explained(gateway, None, **named)
    assert [error["extensions"]["code"] for error in unknown["errors"]] == ["PERSISTED_QUERY_NOT_FOUND"]
    ask(gateway, "/graphql", document, **named)
    assert by_route(explained(gateway, None, **named)) == {THREAD: 1}


def test_a_caller_is_authenticated_and_counted(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(explain=True, upstream_identity="passthrough", inbound_auth=None, rate_limit="2/minute")
    body = {"query": '{ thread(id: "th-1") { id } }'}
    assert gateway.http.post("/graphql/explain", json=body).status_code == 401
    statuses = [
        gateway.http.post("/graphql/explain", json=body, headers={"authorization": "Bearer mine"}).status_code
        for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    assert sandbox.count() == 0


def test_a_batch_is_explained_in_its_order(start: StartGateway) -> None:
    gateway = start(explain=True, max_batch=3)
    members = [{"query": CAUSES["a thread"][0]}, {"query": 1}, {"query": "{ __typename }"}]
    first, second, third = gateway.http.post("/graphql/explain", json=members, headers=ID).json()
    assert (by_route(first), by_route(third)) == ({THREAD: 1}, {})
    assert second["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "requestId": "the-same"}


def test_each_operation_of_a_batch_counts_for_the_rate_of_its_caller(start: StartGateway) -> None:
    gateway = start(explain=True, max_batch=3, rate_limit="4/hour")
    members = [{"query": "{ __typename }"}] * 3
    answers = [gateway.http.post("/graphql/explain", json=members) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 429]
    assert answers[0].headers["ratelimit"].startswith('"caller";r=1;')


def test_subscriptions_that_are_off_or_watch_nothing_are_refused(start: StartGateway) -> None:
    document = "subscription ($ids: [ID!]!) { threadsUpdated(ids: $ids) { id } }"
    for overrides, ids, code in (
        ({"subscriptions": False}, ["th-1"], "SUBSCRIPTIONS_DISABLED"),
        ({}, [], "BAD_USER_INPUT"),
    ):
        (error,) = explained(start(explain=True, **overrides), document, {"ids": ids})["errors"]
        assert (error["extensions"]["code"], error["extensions"]["requestId"]) == (code, "the-same")
