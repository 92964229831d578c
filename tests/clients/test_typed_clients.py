"""TanStack Query with generated types, and gql.tada, whose types come from a query's text, ask a running gateway."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(built: Project) -> Iterator[dict[str, Any]]:
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500))
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app)))
        app = create_app(settings(upstream_url=upstream.url))
        gateway = stack.enter_context(BackgroundServer(gateway_config(app)))
        yield json.loads(built.run("build/typed.js", f"{gateway.url}/graphql", AUTHORIZATION))


def test_tanstack_query_caches_pages_and_fails(report: dict[str, Any]) -> None:
    found = report["tanstack"]
    assert (found["status"], found["isCached"], found["calls"]) == ("Open", True, 2)
    assert "UPSTREAM_ERROR" in found["failed"]
    assert found["pages"] == [["th-1-m1", "th-1-m2", "th-1-m3"], ["th-1-m4"]]


def test_gql_tada_types_a_query_by_its_text(report: dict[str, Any]) -> None:
    """That the compiler refuses a field which the schema does not have is in the program itself."""
    found = report["tada"]
    assert (found["status"], found["size"], found["absent"]) == ("Open", 48213, True)
    assert found["createdAt"].endswith("Z")
