"""`/ready`: whether the gateway should get requests, told from what is known already."""

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


def test_a_gateway_that_has_just_started_is_ready_and_asks_the_rest_api_nothing(
    gateway: Gateway, sandbox: Sandbox
) -> None:
    assert ready(gateway) == (200, {"status": "ready", "checks": ALL_WELL, "openCircuits": []})
    assert gateway.http.get("/health").json() == {"status": "ok"}
    assert sandbox.count() == 0


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_a_rejected_account_makes_it_unready_until_it_may_be_tried_again(start: StartGateway, auth: str) -> None:
    clock = Clock()
    gateway = start(timing=clock.timing, upstream_auth=auth, upstream_password="wrong", upstream_login_pause=60)
    assert gateway.code(THREAD) == "UNAUTHENTICATED"
    status, body = ready(gateway)
    assert (status, body["checks"]) == (503, {**ALL_WELL, "account": "rejected"})
    assert gateway.http.get("/health").status_code == 200, "to start it anew would not help"
    clock.now += 61
    assert ready(gateway)[0] == 200


def test_a_callers_wrong_password_is_no_concern_of_others(start: StartGateway) -> None:
    gateway = start({"authorization": "Basic d3Jvbmc6d3Jvbmc="}, upstream_identity="passthrough")
    assert gateway.code(THREAD) == "UNAUTHENTICATED"
    assert ready(gateway)[0] == 200


def test_one_route_that_fails_is_told_and_does_not_make_it_unready(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(timing=Clock().timing, **QUICK_TO_OPEN)
    gateway.data(CUSTOMER)
    sandbox.faults.add(Fault("thread", status=500))
    assert gateway.code(THREAD) == "UPSTREAM_ERROR"
    assert ready(gateway) == (
        200,
        {"status": "ready", "checks": ALL_WELL, "openCircuits": ["/api/v1/thread/{id}"]},
    )


def test_no_route_that_lets_a_call_through_makes_it_unready_for_the_pause(
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
    assert ready(gateway)[0] == 200, "only a request can find out whether it is well again"
    sandbox.faults.clear()
    gateway.data(THREAD)
    assert sandbox.count() == calls + 1, "its own looks cost no call"
