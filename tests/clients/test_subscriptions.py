"""graphql-ws, graphql-sse, Apollo Client and urql subscribe to a running gateway, unmodified."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow

CLIENTS = [
    "graphql-ws",
    "graphql-sse",
    "apollo over multipart",
    "apollo over websocket",
    "urql over sse",
    "urql over websocket",
]
Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(built: Project) -> Iterator[Report]:
    """What the clients make of two gateways in passthrough mode; the subscriptions of the second last a second."""
    sandbox = Sandbox()
    for number in [*range(200, 206), 300, 301]:
        sandbox.store.put_thread({"id": f"th-{number}", "tags": ["first"]})
    with ExitStack() as servers:
        upstream = servers.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        urls = []
        for lifetime in (3600, 1):
            chosen = settings(
                upstream_url=upstream, resync_interval=0.2, heartbeat=0.3, subscription_max_lifetime=lifetime
            )
            app = create_app(chosen)
            urls.append(servers.enter_context(BackgroundServer(gateway_config(app))).url + "/graphql")
        yield json.loads(built.run("build/subscriptions.js", *urls, upstream, AUTHORIZATION))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_the_current_state_and_then_the_change(report: Report, client: str) -> None:
    assert report["followed"][client] == {"first": ["first"], "last": ["changed"]}


@pytest.mark.parametrize("client", ["graphql-ws", "graphql-sse"])
def test_a_client_subscribes_again_by_itself(report: Report, client: str) -> None:
    """Each subscription ends after a second, begins with the current state, and the thread changes after the third."""
    returned = report["returned"][client]
    assert returned["results"] >= 4
    assert returned["last"] == ["changed"]


def test_a_socket_carries_queries_and_their_errors(report: Report) -> None:
    assert report["single"]["results"] == ["th-1"]
    (error,) = report["single"]["refused"]
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_graphql_ws_tries_again_without_credentials_only_as_often_as_it_is_told(report: Report) -> None:
    """Code 4403 is one after which it asks for credentials again; 4401 would end it."""
    assert report["unauthorized"] == [4403, 4403]
