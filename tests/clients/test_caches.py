"""Normalised caches keep the custom fields of two customers apart."""

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

CACHES = ["apollo", "graphcache"]
TRUE = ["ochre 🟠", "of cu-5"]
"""What the first custom field is for the first and the last customer of the thread."""


@pytest.fixture(scope="module")
def shown(built: Project) -> Iterator[dict[str, dict[str, list[Any]]]]:
    """The values that each cache shows, by the name under which the field's id was selected."""
    sandbox = Sandbox()
    sandbox.faults.add(Fault("customer", "cu-5", patch={"custom_fields.0.value": "of cu-5"}))
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app)))
        app = create_app(settings(upstream_url=upstream.url))
        gateway = stack.enter_context(BackgroundServer(gateway_config(app)))
        yield json.loads(built.run("build/caches.js", f"{gateway.url}/graphql", AUTHORIZATION))


@pytest.mark.parametrize("cache", CACHES)
def test_each_customer_has_its_own_value_beside_field_id(shown: dict[str, dict[str, list[Any]]], cache: str) -> None:
    values = shown[cache]["fieldId"]
    assert [each for each in values if each in TRUE] == TRUE


@pytest.mark.parametrize("cache", CACHES)
def test_the_deprecated_id_mixes_them_up(shown: dict[str, dict[str, list[Any]]], cache: str) -> None:
    """A cache takes it for the identity of the object, which is why it is deprecated."""
    assert [each for each in shown[cache]["id"] if each in TRUE] != TRUE
