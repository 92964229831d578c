"""Apollo Client and urql use what is optional: documents named by their hash, batches, and answers in parts."""

import json
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.sandbox import ABSENT, BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project
from tests.web.test_incremental import BROKEN, INCREMENTAL, errors_of

pytestmark = pytest.mark.slow

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(built: Project) -> Report:
    """What the clients show, and under "whole" the response to each document for a client that wants it in one part."""
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500), Fault("messages", "th-2", status=403))
    sandbox.faults.add(Fault("messages", "th-100", patch={"messages.1.id": ABSENT}))
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, incremental=True))
        batching = create_app(settings(upstream_url=upstream.url, max_batch=2))
        with BackgroundServer(gateway_config(app)) as gateway, BackgroundServer(gateway_config(batching)) as other:
            url, headers = f"{gateway.url}/graphql", {"authorization": AUTHORIZATION}
            stdin = json.dumps(INCREMENTAL | BROKEN)
            shown = json.loads(built.run("build/extras.js", url, AUTHORIZATION, f"{other.url}/graphql", stdin=stdin))
            with httpx.Client(headers=headers, trust_env=False) as http:
                whole = {name: http.post(url, json={"query": text}).json() for name, text in INCREMENTAL.items()}
    return {**shown, "whole": whole}


def test_apollos_persisted_queries_are_taught_once_and_then_asked_for_with_get(report: Report) -> None:
    thread = {"__typename": "Thread", "id": "th-1", "status": "Open"}
    assert report["persisted"]["answers"] == [thread] * 3
    assert report["persisted"]["exchanges"] == ["GET 400", "POST 200", "GET 200", "GET 200"]


def test_apollos_batching_link_shows_which_setting_it_needs_and_works_with_it(report: Report) -> None:
    refused, answered = report["batches"]["refused"], report["batches"]["answered"]
    assert (refused["requests"], answered["requests"]) == (1, 1)
    assert all("GATEWAY_MAX_BATCH above 1" in each for each in refused["shown"])
    assert [each["id"] for each in answered["shown"]] == ["th-1", "th-2"]


CLIENTS = ["apollo", "apollo, older form", "urql", "apollo over websocket", "urql over websocket"]


def without_typenames(value: Any) -> Any:
    if isinstance(value, list):
        return [without_typenames(each) for each in value]
    if isinstance(value, dict):
        return {name: without_typenames(each) for name, each in value.items() if name != "__typename"}
    return value


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_what_is_there_before_what_is_deferred(report: Report, client: str) -> None:
    first, *_, last = without_typenames(report[client]["deferred"]["states"])
    assert first == {"thread": {"id": "th-1"}}
    assert last == {"thread": {"id": "th-1", "messages": {"totalCount": 4}}}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_every_item_of_a_stream_in_order(report: Report, client: str) -> None:
    first, *_, last = without_typenames(report[client]["streamed"]["states"])
    assert [each["id"] for each in first["threads"]] == ["th-1"]
    assert [each["id"] for each in last["threads"]] == ["th-1", "th-2", "th-3", "th-4"]
    assert all(each["tags"] is not None for each in last["threads"])


@pytest.mark.parametrize("name", INCREMENTAL)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_shows_in_the_end_equals_the_whole_response(report: Report, client: str, name: str) -> None:
    shown, whole = report[client][name], report["whole"][name]
    assert without_typenames(shown["states"][-1]) == whole["data"]
    assert errors_of([shown]) == errors_of([whole])


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_the_error_of_a_part_that_is_missing(report: Report, client: str, name: str) -> None:
    """Over a WebSocket, which has no ``Accept``, one that reads both places shows it twice."""
    shown = report[client][name]
    times = 2 if client == "apollo over websocket" else 1
    assert [each["code"] for each in errors_of([shown])] == ["UPSTREAM_INVALID_RESPONSE"] * times
    thread = without_typenames(shown["states"][-1])["thread"]
    assert (thread["id"], thread["messages"]["totalCount"]) == ("th-100", 2), "what was sent before stays"
