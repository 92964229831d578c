"""`/ready`: whether the gateway should get requests, by what it already knows."""

from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import SERVICE, Clock, Gateway, StartGateway

THREAD = '{ thread(id: "th-1") { id } }'
CUSTOMER = '{ customer(externalId: "cu-1") { id } }'
ALL_WELL = {"settings": "ok", "shutdown": "ok", "account": "ok", "upstream": "ok"}
QUICK_TO_OPEN = {"breaker_min_volume": 1, "upstream_retries": 0}


def ready(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    response = gateway.http.get("/ready")
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert body["status"] == ("ready" if response.status_code == 200 else "not ready")
    return response.status_code, body


def test_a_new_gateway_is_ready_without_a_call_to_the_rest_api(gateway: Gateway, sandbox: Sandbox) -> None:
    assert ready(gateway) == (200, {"status": "ready", "checks": ALL_WELL, "openCircuits": []})
    assert gateway.http.get("/health").json() == {"status": "ok"}
    assert sandbox.count() == 0


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_a_rejected_account_makes_the_gateway_unready_until_the_next_attempt(start: StartGateway, auth: str) -> None:
    clock = Clock()
    gateway = start(timing=clock.timing, upstream_auth=auth, upstream_password="wrong", upstream_login_pause=60)
    assert gateway.code(THREAD) == "UNAUTHENTICATED"
    status, body = ready(gateway)
    assert (status, body["checks"]) == (503, {**ALL_WELL, "account": "rejected"})
    assert gateway.http.get("/health").status_code == 200, "a restart would not help"
    clock.now += 61
    assert ready(gateway)[0] == 200


def test_a_wrong_password_of_a_caller_does_not_affect_others(start: StartGateway) -> None:
    gateway = start({"authorization": "Basic d3Jvbmc6d3Jvbmc="}, upstream_identity="passthrough")
    assert gateway.code(THREAD) == "UNAUTHENTICATED"
    assert ready(gateway)[0] == 200


def test_one_failing_route_is_reported_and_does_not_make_the_gateway_unready(
    start: StartGateway, sandbox: Sandbox
) -> None:
    gateway = start(timing=Clock().timing, **QUICK_TO_OPEN)
    gateway.data(CUSTOMER)
    sandbox.faults.add(Fault("thread", status=500))
    assert gateway.code(THREAD) == "UPSTREAM_ERROR"
    assert ready(gateway) == (
        200,
        {"status": "ready", "checks": ALL_WELL, "openCircuits": ["/api/v1/thread/{id}"]},
    )


def test_open_circuits_on_all_routes_make_the_gateway_unready_for_the_pause(
    start: StartGateway, sandbox: Sandbox
) -> None:
    clock = Clock()
    gateway = start(timing=clock.timing, **{**SERVICE, "upstream_auth": "basic"}, **QUICK_TO_OPEN, breaker_pause=5)
    sandbox.faults.add(Fault("*", status=500))
    assert [gateway.code(query) for query in (THREAD, CUSTOMER)] == ["UPSTREAM_ERROR"] * 2
    calls = sandbox.count()
    status, body = ready(gateway)
    assert (status, body["checks"]) == (503, {**ALL_WELL, "upstream": "failing"})
    assert body["openCircuits"] == ["/api/v1/customers/{customer_external_id}", "/api/v1/thread/{id}"]
    clock.now += 5
    assert ready(gateway)[0] == 200, "only a request can find out whether the REST API works again"
    sandbox.faults.clear()
    gateway.data(THREAD)
    assert sandbox.count() == calls + 1, "/ready makes no call"
