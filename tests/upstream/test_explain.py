"""The report of an operation's REST calls, and the timeout that a caller sets."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from gateway.upstream.call import CallReport, ResponseOrigin
from tests.harness import Clock, Gateway, StartGateway

QUERY = '{ a: thread(id: "th-1") { id messages(first: 1) { totalCount } } gone: thread(id: "nowhere") { id } }'


def explained(gateway: Gateway, document: str, **headers: str) -> Any:
    response = gateway.http.post("/graphql", json={"query": document}, headers={"gateway-explain": "1", **headers})
    return response.json()


def test_each_rest_call_is_reported_without_an_id(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", times=1, status=503))
    extensions = explained(start(explain=True), QUERY)["extensions"]
    reports = sorted(
        (each["route"], each["status"], each["attempts"], each["source"]) for each in extensions["upstream"]
    )
    assert reports == [
        ("/api/v1/thread/{id}", 200, 1, "fetched"),
        ("/api/v1/thread/{id}", 404, 1, "fetched"),
        ("/api/v1/thread/{id}/messages", 200, 2, "fetched"),
    ]
    assert all(each["ms"] > 0 for each in extensions["upstream"])
    assert "th-1" not in str(extensions)


def test_times_are_shown_to_a_tenth() -> None:
    shown = CallReport(
        "/api/v1/thread/{id}", None, 12.345, 1, ResponseOrigin.STALE, 6.789, "UPSTREAM_TIMEOUT"
    ).as_dict()
    assert (shown["ms"], shown["ageSeconds"], shown["code"]) == (12.3, 6.8, "UPSTREAM_TIMEOUT")


def calls(gateway: Gateway, document: str, variables: Any = None) -> list[dict[str, Any]]:
    body = {"query": document, "variables": variables}
    response = gateway.http.post("/graphql", json=body, headers={"gateway-explain": "1"}).json()
    found: list[dict[str, Any]] = response["extensions"]["upstream"]
    return found


def fed(call: dict[str, Any]) -> set[str]:
    return {".".join(path) for path in call["fields"]}


CUSTOMERS = "/api/v1/customers"
# The document, its variables, and for each path the fields that its call feeds.
FED: dict[str, tuple[str, dict[str, Any], dict[str, set[str]]]] = {
    "a literal and a variable": (
        'query ($id: ID!) { thread(id: "th-1") { id } b: thread(id: $id) { id } }',
        {"id": "th-2"},
        {"/api/v1/thread/{thread(id)}": {"thread"}, "/api/v1/thread/{$id}": {"b"}},
    ),
    "two fields of one call": (
        'query ($id: ID!) { b: thread(id: $id) { id } thread(id: "th-1") { id } }',
        {"id": "th-1"},
        {"/api/v1/thread/{$id}": {"b", "thread"}},
    ),
    "a list": (
        "query ($ids: [ID!]!) { threads(ids: $ids) { m: messages(first: 2) { totalCount } } }",
        {"ids": ["th-1", "nowhere", "th-1"]},
        {
            "/api/v1/thread/{$ids[0]}": {"threads"},
            "/api/v1/thread/{$ids[1]}": {"threads"},
            "/api/v1/thread/{threads[0].id}/messages?offset=0&limit=2": {"threads.m"},
        },
    ),
    "customers inside customers": (
        """{ thread(id: "th-1") { who: customers { ...F } } }
           fragment F on Customer { profile { customer { again: profile { customer { id } } } } }""",
        {},
        {
            "/api/v1/thread/{thread(id)}": {"thread"},
            **{
                f"{CUSTOMERS}/{{thread.who[{index}].externalId}}": {
                    "thread.who.profile",
                    "thread.who.profile.customer.again",
                }
                for index in range(3)
            },
        },
    ),
    "the last messages": (
        '{ thread(id: "th-1") { messages(last: 1) { nodes { id } } none: messages(first: 0) { totalCount } } }',
        {},
        {
            "/api/v1/thread/{thread(id)}": {"thread"},
            "/api/v1/thread/{thread.id}/messages?offset=3&limit=1": {"thread.messages"},
            "/api/v1/thread/{thread.id}/messages?offset=0&limit=1": {"thread.none"},
        },
    ),
    "entities": (
        """query ($a: [_Any!]!) { _entities(representations: $a) {
             ... on Thread { messages { totalCount } } ... on Customer { profile { customer { id } } } } }""",
        {"a": [{"__typename": "Thread", "id": "th-1"}, {"__typename": "Customer", "externalId": "cu-1"}]},
        {
            "/api/v1/thread/{$a[0]}": {"_entities"},
            "/api/v1/thread/{_entities[0].id}/messages?offset=0&limit=20": {"_entities.messages"},
            f"{CUSTOMERS}/{{$a[1]}}": {"_entities", "_entities.profile"},
        },
    ),
}


@pytest.mark.parametrize("settings", [{}, {"plans": False}, {"cache_url": "memory://"}], ids=str)
def test_each_call_names_the_fields_that_it_fed_and_where_its_id_came_from(
    start: StartGateway, settings: dict[str, Any]
) -> None:
    """Also where an answer is built from the cache, and where it was kept there."""
    gateway = start(explain=True, **settings)
    for name, (document, variables, expected) in FED.items():
        for _ in range(3):
            shown = calls(gateway, document, variables)
            assert {call["path"]: fed(call) for call in shown} == expected, name
            assert len(shown) == len(expected)
            starts = [call["startMs"] for call in shown]
            assert starts == sorted(starts)
            assert starts[0] >= 0
            assert {call["method"] for call in shown} == {"GET"}


def test_the_calls_of_a_mutation_belong_to_its_fields(start: StartGateway) -> None:
    gateway = start(explain=True, mutations=True)
    document = """mutation ($i: UpdateThreadInput!) {
      a: updateThread(input: $i) { thread { messages { totalCount } } }
      b: updateThread(input: {id: "th-2", tagCodes: ["x"]}) { outcome }
      c: createMessage(input: {threadId: "th-2", content: "x"}) { thread { status } } }"""
    shown = calls(gateway, document, {"i": {"id": "th-1", "status": 3}})
    assert [(call["method"], call["path"], fed(call)) for call in shown] == [
        ("POST", "/api/v1/thread/{id}", {"a"}),
        ("GET", "/api/v1/thread/{id}/messages", {"a.thread.messages"}),
        ("GET", "/api/v1/thread/{id}", {"b"}),
        ("POST", "/api/v1/thread/{id}", {"b"}),
        ("POST", "/api/v1/message", {"c"}),
        ("GET", "/api/v1/thread/{id}", {"c.thread"}),
    ]


def test_a_call_of_a_query_belongs_to_no_field_that_merely_made_the_call_before(
    start: StartGateway, sandbox: Sandbox
) -> None:
    """The fields of a mutation run one after the other, those of a query at the same time."""
    gateway = start(explain=True, mutations=True)
    document = """{ a: messageOutcome(threadId: "th-1", idempotencyKey: "k") { thread { messages { totalCount } } }
                    b: messageOutcome(threadId: "th-2", idempotencyKey: "k") { outcome } }"""
    sandbox.faults.add(Fault("messages", "th-1", hold="a", times=1), Fault("thread", "th-2", hold="b", times=1))
    with ThreadPoolExecutor() as pool:
        shown = pool.submit(calls, gateway, document)
        sandbox.wait_for_calls(1, "messages")
        sandbox.release("b")
        sandbox.wait_for_calls(2, "messages")
        sandbox.release("a")
    assert [fed(call) for call in shown.result() if call["route"].endswith("/messages")] == [
        {"a"},
        {"b"},
        {"a.thread.messages"},
    ]


def test_a_call_without_a_response_says_why(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(
        explain=True, upstream_retries=0, upstream_read_timeout=0.1, breaker_min_volume=1, breaker_failure_rate=1
    )
    sandbox.faults.add(Fault("thread", hold="for ever"))
    document = '{ thread(id: "th-1") { id } }'
    (late,), (refused,) = calls(gateway, document), calls(gateway, document)
    sandbox.faults.clear()
    assert (late["status"], late["code"], late["attempts"]) == (None, "UPSTREAM_TIMEOUT", 1)
    assert late["problem"] == "The REST API did not answer in time."
    assert (late.get("circuit"), refused["circuit"]) == (None, "open")
    assert (refused["status"], refused["code"]) == (None, "UPSTREAM_UNAVAILABLE")
    assert refused["problem"] == "The REST API keeps failing; it is given a pause."


def test_the_report_is_bounded(start: StartGateway) -> None:
    gateway = start(explain=True, max_root_fields=50)
    aliases = " ".join(f'a{number}: thread(id: "th-1") {{ id }}' for number in range(21))
    (call,) = calls(gateway, f"{{ {aliases} }}")
    assert (len(call["fields"]), call["moreFields"]) == (20, 1)


@pytest.mark.parametrize(("setting", "header"), [(False, "1"), (True, "0"), (True, "")])
def test_the_report_needs_both_the_setting_and_the_header(start: StartGateway, setting: bool, header: str) -> None:
    gateway = start(explain=setting)
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-explain": header})
    assert "extensions" not in response.json()


def test_a_caller_can_shorten_the_timeout_but_not_extend_it(start: StartGateway, sandbox: Sandbox) -> None:
    """The timeout of this test's client is far below the longer times."""
    for setting, asked in ((300, "0.1"), (0.3, "300")):
        gateway = start(operation_timeout=setting, upstream_read_timeout=300)
        gateway.data(QUERY)
        sandbox.faults.add(Fault("thread", hold="for ever"))
        response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-timeout": asked})
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"UPSTREAM_TIMEOUT"}
        sandbox.faults.clear()


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf", "1s", "1e400", "9" * 400])
def test_an_invalid_timeout_is_rejected(gateway: Gateway, sandbox: Sandbox, value: str) -> None:
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-timeout": value})
    assert response.status_code == 400
    message = "`Gateway-Timeout` must be a number of seconds above 0, such as 2.5."
    assert response.json()["errors"][0]["message"] == message
    assert sandbox.count() == 0


def test_a_kept_answer_has_the_same_report_cost_and_tag(start: StartGateway, clock: Clock, sandbox: Sandbox) -> None:
    """The first response is fetched, the second is built from the cache, and the third is kept from the second."""
    gateway = start(timing=clock.timing, cache_url="memory://", explain=True, cost_mode="measure")
    document = '{ thread(id: "th-1") { id messages(first: 1) { totalCount } } }'
    extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": sha256(document.encode()).hexdigest()}})
    parameters = {"query": document, "extensions": extensions}
    answers = []
    for _ in range(3):
        answers.append(gateway.http.get("/graphql", params=parameters, headers={"gateway-explain": "1"}))
        clock.now += 1
    first, built, kept = answers
    assert first.json()["data"] == built.json()["data"] == kept.json()["data"]
    assert first.headers["gateway-cost"] == "predicted=2, made=2"
    assert built.headers["gateway-cost"] == kept.headers["gateway-cost"] == "predicted=2, made=0"
    reports = sorted(kept.json()["extensions"]["upstream"], key=str)
    assert [(each["source"], each["status"], each["ageSeconds"]) for each in reports] == [("cached", 200, 2.0)] * 2
    assert sandbox.count(route="thread") == sandbox.count(route="messages") == 1
    for name in ("cache-control", "vary", "content-type"):
        assert built.headers[name] == kept.headers[name]
    plain = [gateway.http.get("/graphql", params=parameters) for _ in range(2)]
    assert [each.headers["gateway-cost"] for each in plain] == ["predicted=2, made=0"] * 2
    assert plain[0].headers["etag"] == plain[1].headers["etag"]
    assert (
        gateway.http.get("/graphql", params=parameters, headers={"if-none-match": plain[0].headers["etag"]}).status_code
        == 304
    )


def test_calls_beyond_a_thousand_are_only_counted(start: StartGateway) -> None:
    ids = [f"nowhere-{number}" for number in range(1002)]
    body = {"query": "query ($ids: [ID!]!) { threads(ids: $ids) { id } }", "variables": {"ids": ids}}
    gateway = start(explain=True, max_cost=2000, max_list=2000)
    extensions = gateway.http.post("/graphql", json=body, headers={"gateway-explain": "1"}).json()["extensions"]
    assert (len(extensions["upstream"]), extensions["moreCalls"]) == (1000, 2)
