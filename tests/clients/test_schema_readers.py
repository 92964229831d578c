"""Tools read the schema: strictly from a file, and by introspection of a running gateway."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.schema import build_schema
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.clients.tools import LINT, NEWEST_NODE
from tests.harness import settings
from tests.javascript import Project, project
from tests.requirements import missing

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


LINTED = (
    "arguments-have-descriptions",
    "defined-types-are-used",
    "deprecations-have-a-reason",
    "descriptions-are-capitalized",
    "enum-values-all-caps",
    "enum-values-have-descriptions",
    "enum-values-sorted-alphabetically",
    "fields-are-camel-cased",
    "fields-have-descriptions",
    "input-object-values-are-camel-cased",
    "input-object-values-have-descriptions",
    "interface-fields-sorted-alphabetically",
    "relay-connection-arguments-spec",
    "relay-connection-types-spec",
    "relay-page-info-spec",
    "types-are-capitalized",
    "types-have-descriptions",
)
"""The rules of graphql-schema-linter, without those for the order of fields."""


@pytest.mark.parametrize("name", SCHEMAS)
def test_graphql_schema_linter_reads_the_schema_strictly_and_reports_only_its_order(name: str) -> None:
    """Names and descriptions of federation's own are not those of the schema for clients."""
    rules = LINTED if name == "for clients" else ["deprecations-have-a-reason"]
    linter = ["node_modules/.bin/graphql-schema-linter", "--stdin", "--rules", ",".join(rules)]
    assert "0 errors detected" in project("clients").run(*linter, stdin=SCHEMAS[name])


@pytest.fixture(params=["the machine's Node", "the newest Node"])
def on_node(request: pytest.FixtureRequest, built: Project, tmp_path: Path) -> Project:
    """The project, which is run by another Node as well: npm's package ``node`` brings its program."""
    if request.param == "the machine's Node":
        return built
    npm = shutil.which("npm") or missing("npm", "apt-get install npm")
    (tmp_path / "package.json").write_text("{}")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", "--prefix", str(tmp_path), NEWEST_NODE]
    subprocess.run(command, check=True, capture_output=True, timeout=300)  # noqa: S603 - our own command
    node = str(tmp_path / "node_modules" / "node" / "bin" / "node")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, encoding="utf-8").stdout  # noqa: S603 - as above
    assert version.strip() == NEWEST_NODE.replace("node@", "v")
    return replace(built, node=node)


def test_codegen_generates_the_same_types_from_a_running_gateway(on_node: Project) -> None:
    """It announces zstd, which Node 20 cannot read, and the schema by introspection has federation's scalars."""
    built = on_node
    (built.path / "build" / "generated-from-url.ts").unlink(missing_ok=True)
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(Sandbox().app)))
        app = create_app(settings(upstream_url=upstream.url))
        gateway = stack.enter_context(BackgroundServer(gateway_config(app)))
        environment = {"SCHEMA_URL": f"{gateway.url}/graphql", "SCHEMA_AUTHORIZATION": AUTHORIZATION}
        built.run("node_modules/.bin/graphql-codegen", "--config", "codegen.ts", environment=environment)
    from_url, from_file = (
        (built.path / name).read_text(encoding="utf-8") for name in ("build/generated-from-url.ts", "src/generated.ts")
    )
    assert "export type ThreadQuery = " in from_url
    assert from_url == from_file
