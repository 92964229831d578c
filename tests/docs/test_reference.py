"""What the documentation lists is what the code has: tables, variables, routes, layers."""

import re
import tomllib

import pytest
from graphql import is_object_type
from starlette.routing import Route

from gateway import errors
from gateway.app import create_app
from gateway.compat.strawberry import graphql_schema
from gateway.sandbox import Sandbox
from gateway.schema import build_schema
from gateway.schema.resolvers.links import link_of
from gateway.settings import PREFIX
from gateway.upstream.contract import ENUMERATIONS, EVENTS, ROUTES, TYPES
from tests.docs.page import CHANGELOG, DOCS, PAGES, ROOT, Page, code_of, table
from tests.harness import FIELDS, settings
from tests.reference.errors import error_classes
from tests.reference.pages import COMMAND, written

HTTP = Page("docs/http.md")
METRICS = Page("docs/reference/metrics.md")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): text for path, text in written().items()}


def test_no_table_is_stale(pages: dict[str, str]) -> None:
    stale = [name for name, text in pages.items() if Page(name).text != text]
    assert stale == [], f"write them with `{COMMAND}`"


def test_the_settings_page_has_every_setting() -> None:
    rows = [code_of(row[0]) for row in table(Page("docs/reference/settings.md").text)]
    assert sorted(rows) == sorted(PREFIX + name.upper() for name in FIELDS)


def test_the_errors_page_has_every_code_and_no_other() -> None:
    rows = [code_of(row[0]) for row in table(Page("docs/reference/errors.md").text)]
    assert rows == list(error_classes())
    every = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GatewayError)]
    assert set(rows) == {each.code for each in every}


def test_the_rest_apis_page_has_every_route_event_and_field() -> None:
    page = Page("docs/reference/rest-api.md")
    names = [code_of(row[0]) for name in ("Routes", "Events", "Enumerations") for row in table(page.section(name).text)]
    assert names == [*ROUTES, *EVENTS, *ENUMERATIONS]
    for name, of in TYPES.items():
        assert [code_of(row[0]) for row in table(page.section(name).text)] == [each.name for each in of.fields]


def test_the_querying_page_says_what_each_field_costs_that_makes_a_call() -> None:
    rows = table(Page("docs/querying.md").section("How many REST calls does my query make?").text)
    named = {code_of(row[0]).partition("(")[0] for row in rows}
    types = graphql_schema(build_schema()).type_map.values()
    read = (each for each in types if is_object_type(each) and each.name in {"Query", *TYPES})
    fields = ((each, name, field) for each in read for name, field in each.fields.items())
    linked = {f"{of.name}.{name}" for of, name, field in fields if link_of(field) is not None and name[0] != "_"}
    assert named == {name.removeprefix("Query.") for name in linked}


def test_every_metric_that_is_named_exists() -> None:
    known = {code_of(row[0]) for row in table(METRICS.text)}
    for page in DOCS:
        for name in re.findall(r"`(\w+(?:_total|_seconds|_seconds_count|_seconds_bucket))`", page.prose):
            assert re.sub(r"_(bucket|count)$", "", name) in known | {"process_cpu_seconds_total"}, (
                f"{page.name}: {name}"
            )


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in FIELDS}
    for page in PAGES:
        assert set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", page.text)) <= known, page.name


def test_every_error_code_that_is_named_exists() -> None:
    for page in PAGES:
        codes = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page.prose))
        named = {each for each in codes if re.match(r"MAX_|UPSTREAM_|GRAPHQL_|PERSISTED_|BAD_|RATE_LIMITED", each)}
        assert named <= set(error_classes()), page.name


def test_the_route_table_has_every_route_and_no_other() -> None:
    app = create_app(settings(graphiql=True, explain=True, webhook_authorization="Bearer of the webhook"))
    routes = [each for each in app.routes if isinstance(each, Route)]
    rows = table(HTTP.section("Which routes are there?").text)
    assert {code_of(row[0]) for row in rows} == {each.path for each in routes}


def test_the_sandboxs_table_has_every_control_route_with_its_methods() -> None:
    sandbox = Sandbox()
    methods: dict[str, set[str]] = {}
    for each in sandbox._control.app().routes:  # noqa: SLF001 - it has no public name
        if isinstance(each, Route) and each.path != "/":
            methods.setdefault(each.path.replace(":path", ""), set()).update((each.methods or set()) - {"HEAD"})
    shown = {code_of(row[0]): set(row[1].split(", ")) for row in table(Page("docs/contributing/sandbox.md").text)}
    assert shown == methods


def test_the_layers_are_those_that_are_held() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "layers")
    section = Page("docs/contributing/architecture.md").section("Which layer may import which?")
    assert section.blocks[0].text.splitlines() == [each.replace(" | ", ", ") for each in layers]


def test_the_changelog_keeps_the_format() -> None:
    headings = re.findall(r"^#+ .*$", CHANGELOG.text, re.MULTILINE)
    assert headings[:2] == ["# Changelog", "## [Unreleased]"]
    kinds = {"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
    assert {each for each in headings if each.startswith("### ")} <= kinds
