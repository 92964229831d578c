"""Relay: what its compiler and its store make of the schema, with `fieldId` and with the deprecated `id`."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.schema import build_schema
from gateway.server.config import gateway_config
from tests.clients.test_caches import TRUE
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import project

pytestmark = pytest.mark.slow

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    """What Relay makes of a gateway, with documents that relay-compiler has compiled."""
    clients = project("clients")
    (clients.path / "relay" / "__generated__").mkdir(exist_ok=True)
    clients.run("node_modules/.bin/relay-compiler")
    sandbox = Sandbox()
    sandbox.faults.add(Fault("customer", "cu-5", patch={"custom_fields.0.value": "of cu-5"}))
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app)))
        app = create_app(settings(upstream_url=upstream.url))
        gateway = stack.enter_context(BackgroundServer(gateway_config(app)))
        yield json.loads(clients.run("relay/Conversation.js", f"{gateway.url}/graphql", AUTHORIZATION))


@pytest.mark.parametrize("identity", ["default", "typed"])
def test_each_customer_has_its_own_value_beside_field_id(report: Report, identity: str) -> None:
    assert [each for each in report["fieldId"][identity] if each in TRUE] == TRUE


def test_with_the_deprecated_id_relay_refuses_the_whole_query(report: Report) -> None:
    assert "Expected id of elements of field `customFields` to be strings" in report["id"]["default"]


def test_with_the_deprecated_id_and_a_typed_identity_it_mixes_customers_up(report: Report) -> None:
    assert [each for each in report["id"]["typed"] if each in TRUE] != TRUE


def test_a_refetchable_fragment_on_query_pages_back_from_the_newest_messages(report: Report) -> None:
    newest, all_of_them, has_more = report["pages"]
    assert newest == ["th-1-m3", "th-1-m4"]
    assert all_of_them == ["th-1-m1", "th-1-m2", "th-1-m3", "th-1-m4"]
    assert has_more is False


def test_relays_compiler_refuses_a_refetchable_fragment_on_a_thread(tmp_path: Path) -> None:
    fragment = 'fragment Refused_thread on Thread @refetchable(queryName: "RefusedQuery") { id }'
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Refused.js").write_text(f"graphql`{fragment}`;")
    (tmp_path / "schema.graphql").write_text(build_schema().as_str(), encoding="utf-8")
    config = tmp_path / "relay.config.json"
    clients = project("clients")
    here = os.path.relpath(tmp_path, clients.path)  # the compiler reads paths from where it runs
    paths = {"src": f"{here}/src", "schema": f"{here}/schema.graphql"}
    config.write_text(json.dumps({**paths, "language": "javascript"}))
    with pytest.raises(AssertionError, match="Invalid use of @refetchable on fragment 'Refused_thread'"):
        clients.run("node_modules/.bin/relay-compiler", str(config))
