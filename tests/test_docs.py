"""The documentation is held to the code: every setting, route and error code, every link, and the examples run."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from dotenv import dotenv_values
from starlette.routing import Route

from gateway import errors
from gateway.app import create_app
from gateway.auth.api_keys import load_api_keys
from gateway.cli import app as command_line
from gateway.demo import QUERY
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.sandbox.control import Control
from gateway.settings import PREFIX
from tests.harness import FIELDS, Gateway, build_authenticator, settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    ")]


def section(title: str) -> str:
    """Return what stands under a heading of the README."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    return str(text)


def fenced(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def table(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in ``text``, without their headings."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0].startswith("`") or row[0].isdigit()]


def code_of(cell: str) -> str:
    """Return the text that a cell holds as code."""
    return cell.strip("` ")


def _settings_table() -> Iterator[str]:
    for name, field in FIELDS.items():
        match field.default:
            case None:
                default = ""
            case bool():
                default = f"`{str(field.default).lower()}`"
            case _:
                default = f"`{field.default}`"
        yield f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |"


def test_the_settings_table_has_every_setting_with_its_default_and_meaning() -> None:
    rows = [line for line in section("Settings").splitlines() if line.startswith("| `")]
    expected = list(_settings_table())
    assert rows == expected, "the table should be:\n" + "\n".join(expected)


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in FIELDS}
    assert set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", README + CHANGELOG)) <= known


def _codes() -> set[str]:
    classes = (each for each in vars(errors).values() if isinstance(each, type))
    return {each.code for each in classes if issubclass(each, errors.GatewayError)}


def test_the_error_table_has_every_code_and_no_other() -> None:
    rows = [code_of(row[0]) for row in table(section("Errors"))]
    assert len(rows) == len(set(rows))
    assert set(rows) == _codes()


def test_the_route_table_has_every_route_and_no_other() -> None:
    routes = [each for each in create_app(settings(graphiql=True)).routes if isinstance(each, Route)]
    assert {code_of(row[0]) for row in table(section("HTTP")) if row[0].startswith("`/")} == {
        each.path for each in routes
    }


def test_the_sandboxs_table_has_every_control_route_with_its_methods() -> None:
    sandbox = Sandbox()
    methods: dict[str, set[str]] = {}
    for each in Control(sandbox.faults, sandbox._calls).app().routes:  # noqa: SLF001 - the log has no public name
        if isinstance(each, Route) and each.path != "/":
            methods.setdefault(each.path.replace(":path", ""), set()).update((each.methods or set()) - {"HEAD"})
    shown = {code_of(row[0]): set(row[1].split(", ")) for row in table(section("The sandbox"))}
    assert shown == methods


def test_the_query_is_the_demos_and_its_answer_is_what_the_gateway_answers(gateway: Gateway, sandbox: Sandbox) -> None:
    (query,) = fenced("graphql")
    (answer,) = fenced("json")
    assert query.strip() == QUERY
    assert gateway.query(query) == json.loads(answer)
    assert sandbox.count("thread") == 1, "for one REST call, it says"


def test_the_programs_and_the_subgraph_shown_are_those_that_the_tests_run() -> None:
    files = [
        "federation/gateway.config.mjs",
        "federation/subgraph.graphql",
        "clients/codegen.ts",
        "clients/src/apollo.ts",
    ]
    run = [" ".join((ROOT / "tests" / each).read_text(encoding="utf-8").split()) for each in files]
    shown = [" ".join(each.split()) for language in ("js", "ts", "graphqls") for each in fenced(language)]
    assert [each for each in shown if not any(each in text for text in run)] == []
    assert len(shown) == len(files)


def test_the_newcomers_two_commands_are_as_promised() -> None:
    assert "pip install uv && uv run gochat-gateway demo" in COMMANDS
    assert "uv run pytest" in COMMANDS


def _options(words: list[str]) -> Iterator[str]:
    for word in words:
        if word == "#":
            return
        if word.startswith("--"):
            yield word


def test_every_command_and_option_that_is_named_exists() -> None:
    group: Any = typer.main.get_command(command_line)
    named = set()
    for line in (*COMMANDS, *re.findall(r"`([^`\n]+)`", README)):
        words = shlex.split(
            line.replace("gochat-gateway demo", "demo") if line.startswith("pip") else line, posix=False
        )
        for before, word in zip(["gochat-gateway", *words], words, strict=False):
            if word in group.commands and before in {"gochat-gateway", "run", "&&"}:
                named.add(word)
                options = {
                    option for each in group.commands[word].params for option in (*each.opts, *each.secondary_opts)
                }
                assert set(_options(words)) <= options, line
        if "gochat-gateway" in words[:-1]:
            assert words[words.index("gochat-gateway") + 1] in group.commands, line
    assert named == set(group.commands)


def test_the_env_files_shown_are_complete() -> None:
    """Neither is refused, and each has only settings that exist."""
    identities = []
    for text in fenced("ini"):
        values = dotenv_values(stream=io.StringIO(text))
        names = {str(name).removeprefix(PREFIX).lower(): value for name, value in values.items()}
        assert set(names) <= set(FIELDS)
        loaded = settings(**names)
        build_authenticator(loaded)
        identities.append(loaded.upstream.identity.value)
    assert identities == ["passthrough", "service", "service"]


def test_the_line_of_the_file_of_api_keys_is_one(tmp_path: Path) -> None:
    (line,) = fenced("toml")
    file = tmp_path / "keys.toml"
    file.write_text(line)
    ((identifier, key),) = load_api_keys(file).items()
    assert (identifier, sorted(key.viewer.scopes)) == ("mobile-app", ["chat:read"])


def test_the_faults_shown_are_taken_by_the_sandbox() -> None:
    sandbox = Sandbox()
    lines = [shlex.split(each) for each in COMMANDS if each.startswith("curl ")]
    with BackgroundServer(sandbox_config(sandbox.app)) as server, httpx.Client(trust_env=False) as http:
        for line in lines:
            (url,) = (word for word in line if word.startswith("http://127.0.0.1:9000/"))
            target = url.replace("http://127.0.0.1:9000", server.url)
            if "-d" in line:
                body = line[line.index("-d") + 1]
                assert http.post(target, content=body).status_code == 201, body
                assert sandbox.faults.pending()[-1] == Fault.from_json(json.loads(body))
            else:
                assert http.request(line[line.index("-X") + 1], target).status_code == 204
    assert len(lines) > 3
    assert sandbox.faults.pending() == (), "the last line clears them"


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md"])
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    dead = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert dead == []


def test_a_link_is_called_what_it_leads_to() -> None:
    for text, link in re.findall(r"\[([\w/]+\.\w+)\]\(([^)\s]+)\)", README):
        assert link.endswith(text), f"[{text}]({link})"


def test_the_layers_are_those_that_are_held() -> None:
    contracts = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^layers = \[\n(.*?)^\]", contracts, re.DOTALL | re.MULTILINE)
    layers = [each.replace(" | ", ", ") for each in re.findall(r'"([^"]+)"', listed)]
    assert f"`{' > '.join(layers)}`" in " ".join(README.split())


def test_the_changelog_keeps_the_format() -> None:
    headings = re.findall(r"^#+ .*$", CHANGELOG, re.MULTILINE)
    assert headings[:2] == ["# Changelog", "## [Unreleased]"]
    kinds = {"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
    assert {each for each in headings if each.startswith("### ")} <= kinds
