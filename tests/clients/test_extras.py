"""Apollo Client and urql use what is optional: documents named by their hash, and answers in parts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(built: Project) -> Iterator[Report]:
    with BackgroundServer(sandbox_config(Sandbox().app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, incremental=True))
        with BackgroundServer(gateway_config(app)) as gateway:
            yield json.loads(built.run("build/extras.js", f"{gateway.url}/graphql", AUTHORIZATION))


def test_apollos_persisted_queries_are_taught_once_and_then_asked_for_with_get(report: Report) -> None:
    thread = {"__typename": "Thread", "id": "th-1", "status": "Open"}
    assert report["persisted"]["answers"] == [thread] * 3
    assert report["persisted"]["exchanges"] == ["GET 400", "POST 200", "GET 200", "GET 200"]


@pytest.mark.parametrize("client", ["apollo", "apollo, older form", "urql"])
def test_a_client_shows_what_is_there_before_what_is_deferred(report: Report, client: str) -> None:
    first, *_, last = ({name: each[name] for name in each if name != "__typename"} for each in report[client])
    assert first == {"id": "th-1"}
    assert last["messages"]["totalCount"] == 4
