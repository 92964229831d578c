"""The report of an operation's REST calls, and the timeout that a caller sets."""

import json
from hashlib import sha256
from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
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
    assert "Gateway-Timeout" in response.json()["errors"][0]["message"]
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
    assert plain[0].headers["etag"] == plain[1].headers["etag"]
    assert (
        gateway.http.get("/graphql", params=parameters, headers={"if-none-match": plain[0].headers["etag"]}).status_code
        == 304
    )
