"""Apollo Client and urql use what is optional: documents named by their hash, and answers in parts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(built: Project) -> Iterator[Report]:
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500), Fault("messages", "th-2", status=403))
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, incremental=True))
        with BackgroundServer(gateway_config(app)) as gateway:
            yield json.loads(built.run("build/extras.js", f"{gateway.url}/graphql", AUTHORIZATION))


def test_apollos_persisted_queries_are_taught_once_and_then_asked_for_with_get(report: Report) -> None:
    thread = {"__typename": "Thread", "id": "th-1", "status": "Open"}
    assert report["persisted"]["answers"] == [thread] * 3
    assert report["persisted"]["exchanges"] == ["GET 400", "POST 200", "GET 200", "GET 200"]


CLIENTS = ["apollo", "apollo, older form", "urql"]


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


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_every_item_of_a_stream_in_a_stream(report: Report, client: str) -> None:
    last = without_typenames(report[client]["nested"]["states"][-1])
    first, second, third = last["threads"]
    assert first == third
    assert len(first["lastMessage"]["attachments"]) == 3
    assert second["id"] == "th-2"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_the_data_and_the_errors_of_a_stream_that_fails_in_part(report: Report, client: str) -> None:
    shown = report[client]["failing"]
    threads = without_typenames(shown["states"][-1])["threads"]
    assert [each and each["id"] for each in threads] == ["th-1", None, None, "th-2"]
    assert (threads[0]["messages"], threads[3]["messages"]) == ({"totalCount": 4}, None)
    assert sorted(shown["codes"]) == ["FORBIDDEN", "UPSTREAM_ERROR"]
