"""Tools read the schema: strictly from a file, and by introspection of a running gateway."""

import json
from contextlib import ExitStack

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.schema import build_schema
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.clients.tools import LINT
from tests.harness import settings
from tests.javascript import Project, project

pytestmark = pytest.mark.slow

SCHEMAS = {
    "as exported": build_schema().as_str(),
    "with scopes": build_schema(field_scopes=True, incremental=True).as_str(),
    "for clients": build_schema(incremental=True).as_client_str(),
}


@pytest.mark.parametrize("sdl", SCHEMAS.values(), ids=SCHEMAS)
def test_graphql_js_reads_the_schema_strictly(built: Project, sdl: str) -> None:
    directives = set(json.loads(built.run("build/strict.js", stdin=sdl)))
    assert ({"key", "link", "shareable"} <= directives) is ("@link" in sdl)


def test_the_schema_follows_all_other_rules_of_graphql_eslint() -> None:
    reported = json.loads(project("clients").run("lint.mjs", stdin=build_schema().as_client_str()))
    assert set(reported) == set(LINT), {name: found[:3] for name, found in reported.items() if name not in LINT}


def test_codegen_generates_the_same_types_from_a_running_gateway(built: Project) -> None:
    """It announces zstd, which Node 20 cannot read, and the schema by introspection has federation's scalars."""
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(Sandbox().app)))
        app = create_app(settings(upstream_url=upstream.url))
        gateway = stack.enter_context(BackgroundServer(gateway_config(app)))
        environment = {"SCHEMA_URL": f"{gateway.url}/graphql", "SCHEMA_AUTHORIZATION": AUTHORIZATION}
        built.run("node_modules/.bin/graphql-codegen", "--config", "codegen.ts", environment=environment)
    from_url, from_file = (
        (built.path / f"src/generated{name}.ts").read_text(encoding="utf-8") for name in ("-from-url", "")
    )
    assert "export type ThreadQuery = " in from_url
    assert from_url == from_file
