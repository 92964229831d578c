"""The report of an operation's REST calls, and the timeout that a caller sets."""

from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway

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
