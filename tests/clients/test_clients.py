"""Apollo Client, urql and graphql-request, with types generated from the schema, ask a running gateway."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow

AUTHORIZATION = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
CLIENTS = ["apollo", "request", "urql"]
Report = dict[str, Any]


@pytest.fixture(scope="module")
def reports(built: Project) -> Iterator[dict[str, Report]]:
    """What each client makes of one gateway in passthrough mode."""
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500))
    sandbox.faults.add(Fault("customer", "cu-5", patch={"custom_fields.0.value": "of cu-5"}))
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, mutations=True))
        with BackgroundServer(gateway_config(app)) as gateway:
            yield json.loads(built.run("build/main.js", f"{gateway.url}/graphql", AUTHORIZATION))


@pytest.fixture(params=CLIENTS)
def report(request: pytest.FixtureRequest, reports: dict[str, Report]) -> Report:
    found = reports[request.param]
    assert isinstance(found, dict), f"{request.param} failed: {found}"
    return found


def test_a_client_gets_a_nested_query_with_variables(report: Report) -> None:
    thread = report["thread"]
    assert (thread["id"], thread["status"], thread["messageCount"]) == ("th-1", "Open", 4)
    first, *_ = thread["lastMessage"]["attachments"]
    assert (first["fileName"], first["fileSize"]) == ("Fluglizenz für Drachen 🪁.pdf", 48213)
    assert [each["agentId"] for each in first["attachmentMovements"]["movements"]] == [40, 41, 42]


def test_a_clients_cache_keeps_the_custom_fields_of_two_customers_apart(report: Report) -> None:
    first, _none, last = (each["profile"]["customFields"] for each in report["thread"]["customers"])
    assert first[0]["fieldId"] == last[0]["fieldId"]
    assert (first[0]["value"], last[0]["value"]) == ("ochre 🟠", "of cu-5")


def test_a_client_pages_through_the_messages_by_cursor(reports: dict[str, Report]) -> None:
    pages = [["th-1-m1", "th-1-m2", "th-1-m3"], ["th-1-m4"]]
    assert reports["request"]["pages"] == reports["urql"]["pages"] == pages


def test_apollos_relay_style_pagination_joins_the_pages(reports: dict[str, Report]) -> None:
    first, both = reports["apollo"]["pages"]
    assert (first, both) == (["th-1-m1", "th-1-m2", "th-1-m3"], ["th-1-m1", "th-1-m2", "th-1-m3", "th-1-m4"])


def test_a_client_sees_partial_data_and_the_error_beside_it(report: Report) -> None:
    threads = report["partial"]["threads"]
    assert [each and each["id"] for each in threads] == ["th-100", None, "th-102"]
    assert report["partial"]["problems"] == [{"code": "UPSTREAM_ERROR", "path": "threads.1"}]


def test_a_client_sees_why_an_operation_could_not_begin(report: Report) -> None:
    assert report["wrong"] == [{"code": "BAD_USER_INPUT", "path": ""}]


def test_a_client_without_credentials_sees_that_it_needs_them(report: Report) -> None:
    """The HTTP status is 401: a client that reads no body of it has nothing to show."""
    assert report["anonymous"] == [{"code": "UNAUTHENTICATED", "path": ""}]


def test_a_client_sends_all_three_mutations(reports: dict[str, Report]) -> None:
    for name in CLIENTS:
        writes = reports[name]["writes"]
        assert {write: told["outcome"] for write, told in writes.items()} == {
            "update": "APPLIED",
            "send": "APPLIED",
            "refused": "NOT_APPLIED",
            "token": "APPLIED",
        }
        assert writes["update"]["thread"]["tags"] == [name]
        assert writes["send"]["message"]["content"] == f"from {name}"
        assert [error["code"] for error in writes["refused"]["userErrors"]] == ["recipient_not_allowed"]
        assert writes["token"]["token"]


def test_a_client_repeats_no_mutation(built: Project) -> None:
    """The response to each is lost, and each is UNKNOWN: that is data, which nothing repeats."""
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500))  # the clients' other operations expect it
    sandbox.faults.add(*(Fault(route, status=502) for route in ("update_thread", "message", "chat_token")))
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, mutations=True))
        with BackgroundServer(gateway_config(app)) as gateway:
            reports = json.loads(built.run("build/main.js", f"{gateway.url}/graphql", AUTHORIZATION))
    for name in CLIENTS:
        assert {told["outcome"] for told in reports[name]["writes"].values()} == {"UNKNOWN"}
    counts = {route: sandbox.count(route) for route in ("update_thread", "message", "chat_token")}
    assert counts == {"update_thread": 3, "message": 6, "chat_token": 3}
