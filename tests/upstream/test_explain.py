"""What a developer is told of an operation's REST calls, and how a caller sets its time."""

from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway

QUERY = '{ a: thread(id: "th-1") { id messages(first: 1) { totalCount } } gone: thread(id: "nowhere") { id } }'


def explained(gateway: Gateway, document: str, **headers: str) -> Any:
    response = gateway.http.post("/graphql", json={"query": document}, headers={"gateway-explain": "1", **headers})
    return response.json()


def test_each_rest_call_is_told_without_an_id(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("messages", times=1, status=503))
    extensions = explained(start(explain=True), QUERY)["extensions"]
    told = sorted((each["route"], each["status"], each["attempts"], each["source"]) for each in extensions["upstream"])
    assert told == [
        ("/api/v1/thread/{id}", 200, 1, "fetched"),
        ("/api/v1/thread/{id}", 404, 1, "fetched"),
        ("/api/v1/thread/{id}/messages", 200, 2, "fetched"),
    ]
    assert all(each["ms"] > 0 for each in extensions["upstream"])
    assert "th-1" not in str(extensions)


@pytest.mark.parametrize(("setting", "header"), [(False, "1"), (True, "0"), (True, "")])
def test_it_is_told_only_where_setting_and_header_ask_for_it(start: StartGateway, setting: bool, header: str) -> None:
    gateway = start(explain=setting)
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-explain": header})
    assert "extensions" not in response.json()


def test_a_caller_may_ask_for_less_time_but_never_for_more(start: StartGateway, sandbox: Sandbox) -> None:
    """The client of this test would give up long before either of the longer times."""
    for setting, asked in ((300, "0.1"), (0.3, "300")):
        gateway = start(operation_timeout=setting, upstream_read_timeout=300)
        gateway.data(QUERY)
        sandbox.faults.add(Fault("thread", hold="for ever"))
        response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-timeout": asked})
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"UPSTREAM_TIMEOUT"}
        sandbox.faults.clear()


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf", "1s"])
def test_a_time_that_is_none_is_refused(gateway: Gateway, sandbox: Sandbox, value: str) -> None:
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"gateway-timeout": value})
    assert response.status_code == 400
    assert "Gateway-Timeout" in response.json()["errors"][0]["message"]
    assert sandbox.count() == 0
