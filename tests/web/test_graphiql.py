import html
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from backports import zstd
from starlette.applications import Starlette

from gateway.sandbox import BackgroundServer
from gateway.server.config import gateway_config
from gateway.settings import InboundAuth
from gateway.web.graphiql.assets import SOURCES, assets_route, built_assets
from gateway.web.graphiql.page import EXAMPLE, GraphiQL, GraphiQLPage, build_graphiql
from tests.harness import Gateway, StartGateway, settings, with_account
from tests.requirements import GRAPHIQL_PAGE, missing

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of sources without the output of `npm run build`."""
    for name in ("fallback.js", "fallback.css", "fallback.json"):
        (tmp_path / name).write_bytes((SOURCES / name).read_bytes())
    return tmp_path


@pytest.fixture
def built(sources: Path) -> Path:
    """A folder with the output of `npm run build`, in files with any content."""
    dist = sources / "dist"
    dist.mkdir()
    for name in ("main-abc.js", "main-def.css", "editor.worker-123.js", "codicon-456.ttf", "licenses.md"):
        (dist / name).write_text(name)
    manifest = {
        "_codicon": {"file": "codicon-456.ttf"},
        "src/main.jsx": {"file": "main-abc.js", "isEntry": True, "css": ["main-def.css"]},
    }
    (dist / "manifest.json").write_text(json.dumps(manifest))
    return sources


@pytest.fixture
def page(start: StartGateway) -> Gateway:
    return start(graphiql=True)


def graphiql(sources: Path, **overrides: object) -> GraphiQL:
    chosen = settings(**with_account(**overrides))
    return build_graphiql(chosen.auth.inbound is not InboundAuth.NONE, chosen.http.explain, sources)


def served(page: GraphiQL, name: str, headers: dict[str, str] | None = None) -> httpx.Response:
    app = Starlette(routes=[assets_route(lambda: page.assets)])
    with BackgroundServer(gateway_config(app)) as server:
        return httpx.get(f"{server.url}/graphiql/assets/{name}", trust_env=False, headers=headers)


def policy_of(page: GraphiQL) -> dict[str, list[str]]:
    text = page.response().headers["content-security-policy"]
    directives = (each.split() for each in text.split("; "))
    return {name: values for name, *values in directives}


def text_of(page: GraphiQL) -> str:
    return bytes(page.response().body).decode()


@pytest.mark.parametrize("accepted", ["gzip", "zstd"])
def test_the_page_is_compressed_as_the_browser_accepts(start: StartGateway, accepted: str) -> None:
    page = start(graphiql=True, compress_from=1)
    plain = page.http.get("/graphql", headers={**BROWSER, "accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    encoded = page.http.get("/graphql", headers={**BROWSER, "accept-encoding": accepted})
    assert encoded.headers["content-encoding"] == accepted
    assert int(encoded.headers["content-length"]) < int(plain.headers["content-length"])


def test_a_browser_gets_the_page_and_every_file_it_names(page: Gateway) -> None:
    response = page.http.get("/graphql", headers=BROWSER)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["vary"].startswith("accept")
    names = re.findall(r'(?:src|href)="(graphiql/assets/[^"]+)"', response.text)
    assert len(names) >= 2
    for name in names:
        assert page.http.get(f"/{name}").status_code == 200


def test_the_page_is_for_browsers_that_open_it_only(page: Gateway) -> None:
    query = "{ __typename }"
    answers = [
        page.http.get("/graphql", params={"query": query}, headers={"accept": "application/json, text/html;q=0.9"}),
        page.http.get("/graphql", params={"query": query}, headers={"accept": "*/*"}),
        page.http.post("/graphql", json={"query": query}, headers=BROWSER),
    ]
    assert [each.json() for each in answers] == [{"data": {"__typename": "Query"}}] * 3


def test_the_page_is_off_by_default(gateway: Gateway) -> None:
    assert gateway.http.get("/graphql", headers=BROWSER).json()["errors"]
    found = gateway.http.get("/graphql", params={"query": "{ __typename }"}, headers=BROWSER)
    assert (found.headers["content-type"], found.json()) == (
        "application/json; charset=utf-8",
        {"data": {"__typename": "Query"}},
    )
    assert gateway.http.get("/graphiql/assets/fallback.css").status_code == 404


def test_the_page_opens_with_the_example(built: Path) -> None:
    (query,) = re.findall(r'data-query="([^"]*)"', text_of(graphiql(built)))
    assert html.unescape(query).split() == EXAMPLE.split()


def test_the_page_gets_the_settings_that_it_needs(built: Path) -> None:
    assert 'data-authorization="false" data-explain="false"' in text_of(graphiql(built))
    passthrough = {"upstream_identity": "passthrough", "explain": True}
    assert 'data-authorization="true" data-explain="true"' in text_of(graphiql(built, **passthrough))


def test_the_page_has_a_tab_for_each_mutation_where_they_run(built: Path, start: StartGateway) -> None:
    def tabs(page: GraphiQL) -> list[dict[str, str]]:
        (text,) = re.findall(r'data-tabs="([^"]*)"', text_of(page))
        return list(json.loads(html.unescape(text)))

    assert tabs(build_graphiql(False, False, built)) == []
    gateway = start(mutations=True)
    names = set()
    for tab in tabs(build_graphiql(False, False, built, mutations=True)):
        data = gateway.data(tab["query"], **json.loads(tab["variables"]))
        (payload,) = data.values()
        assert payload["outcome"] == "APPLIED"
        names |= set(data)
    assert names == {"updateThread", "createMessage", "createChatToken"}


def test_the_demo_has_tabs_for_what_the_sandbox_has(built: Path, gateway: Gateway) -> None:
    page = replace(build_graphiql(False, False, built), sandbox="/sandbox")
    (text,) = re.findall(r'data-tabs="([^"]*)"', text_of(page))
    answers = {}
    for tab in json.loads(html.unescape(text)):
        name = re.match(r"(?:query|subscription) (\w+)", tab["query"])
        assert name is not None
        if not tab["query"].startswith("subscription"):
            answers[name[1]] = gateway.query(tab["query"])
    assert list(answers) == ["Inbox", "Conversation", "Customer", "Entities", "AnError"]
    assert [name for name, answer in answers.items() if "errors" in answer] == ["AnError"]
    assert all(value for answer in answers.values() for name, value in answer["data"].items() if name != "other")


def test_the_policy_allows_nothing_from_other_sites(built: Path) -> None:
    policy = policy_of(graphiql(built))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == policy["connect-src"] == policy["worker-src"] == ["'self'"]
    assert policy["style-src"][0] == "'self'"
    assert policy["style-src"][1].startswith("'nonce-")
    assert not any("http" in source or source == "*" for sources in policy.values() for source in sources)
    assert [name for name, sources in policy.items() if "'unsafe-inline'" in sources] == ["style-src-attr"]


def test_each_page_has_its_own_nonce(built: Path) -> None:
    page = graphiql(built)
    responses = [page.response() for _ in range(2)]
    nonces = [re.findall(r'nonce="([^"]+)"', bytes(each.body).decode())[0] for each in responses]
    assert nonces[0] != nonces[1]
    for nonce, response in zip(nonces, responses, strict=True):
        assert f"'nonce-{nonce}'" in response.headers["content-security-policy"]


def test_a_page_has_its_security_headers(built: Path) -> None:
    headers = graphiql(built).response().headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("main-abc.js", "text/javascript; charset=utf-8"),
        ("main-def.css", "text/css; charset=utf-8"),
        ("editor.worker-123.js", "text/javascript; charset=utf-8"),
        ("codicon-456.ttf", "font/ttf"),
    ],
)
def test_a_file_with_a_hashed_name_is_cached_for_ever(built: Path, name: str, media_type: str) -> None:
    response = served(graphiql(built), name)
    assert response.text == name
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; script-src 'self'"


ENCODINGS = {
    "gzip, deflate, br, zstd": "zstd",
    "zstd;q=0, gzip;q=0.5": "gzip",
    "zstd; q=0.0 , GZIP": "gzip",
    "identity": None,
    "gzip;q=0": None,
    "*": None,
    "": None,
}


@pytest.mark.parametrize("accept_encoding", ENCODINGS)
def test_a_file_is_served_in_the_smallest_encoding_that_is_accepted(built: Path, accept_encoding: str) -> None:
    response = served(graphiql(built), "main-abc.js", {"accept-encoding": accept_encoding})
    assert response.headers.get("content-encoding") == ENCODINGS[accept_encoding]
    assert response.headers["vary"] == "accept-encoding"
    if response.headers.get("content-encoding") == "zstd":
        assert zstd.decompress(response.content) == b"main-abc.js"
    else:
        assert response.text == "main-abc.js"


def test_the_root_leads_to_the_page(page: Gateway, gateway: Gateway) -> None:
    response = page.http.get("/", headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (307, "graphql")
    assert page.http.get("/", headers=BROWSER, follow_redirects=True).headers["content-type"].startswith("text/html")
    assert gateway.http.get("/", headers=BROWSER).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "main.js",
        "manifest.json",
        "licenses.md",
        "",
        "..%2Ffallback.js",
        "..%2f..%2f..%2fpyproject.toml",
        "%2e%2e/fallback.json",
        "....//fallback.js",
        "..%5Cfallback.js",
        "%2Fetc%2Fpasswd",
        "main-abc.js%00",
        "dist/main-abc.js",
    ],
)
def test_no_other_file_is_served(page: Gateway, path: str) -> None:
    assert page.http.get(f"/graphiql/assets/{path}").status_code == 404


def test_files_can_only_be_read(page: Gateway) -> None:
    (name, *_) = re.findall(r'"(graphiql/assets/[^"]+)"', page.http.get("/graphql", headers=BROWSER).text)
    assert page.http.head(f"/{name}").status_code == 200
    assert page.http.post(f"/{name}").status_code == 405


def test_without_built_assets_the_page_shows_a_notice_and_loads_pinned_files(
    sources: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway"):
        page = graphiql(sources)
        text = text_of(page)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "npm --prefix gateway/web/graphiql run build" in caplog.text
    assert 'class="notice"' in text
    assert "npm --prefix gateway/web/graphiql run build" in html.unescape(text)
    tags = re.findall(r"<(?:script|link)[^>]*https://[^>]*>", text)
    assert len(tags) == 4
    for tag in tags:
        assert re.search(r'"https://unpkg\.com/[\w-]+@\d+\.\d+\.\d+/[\w./-]+"', tag), tag
        assert re.search(r'integrity="sha384-[\w+/]{64}" crossorigin="anonymous"', tag), tag


def test_without_built_assets_the_policy_names_each_file(sources: Path) -> None:
    page = graphiql(sources)
    policy = policy_of(page)
    urls = {each.url for each in page.cdn}
    allowed = {source for values in policy.values() for source in values if "://" in source}
    assert allowed == urls
    assert set(policy["script-src"]) == {"'self'", *(url for url in urls if url.endswith(".js"))}
    for name in (page.assets.script, *page.assets.styles):
        assert served(page, name).status_code == 200


def test_a_built_page_has_no_notice(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "notice" not in text_of(graphiql(built))
    assert caplog.records == []


def test_refresh_loads_a_page_that_was_built_meanwhile(sources: Path, tmp_path: Path) -> None:
    page = GraphiQLPage(authorization=False, explain=False, sources=sources)
    assert b"notice" in page.response().body
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "manifest.json").write_text('{"src/main.jsx": {"file": "main-abc.js", "isEntry": true}}')
    page.refresh()
    assert b"main-abc.js" in page.response().body


def test_a_built_page_names_only_existing_files() -> None:
    assets = built_assets() or missing(*GRAPHIQL_PAGE)
    assert {assets.script, *assets.styles} <= set(assets.files)
    assert {"editor.worker", "graphql.worker", "json.worker"} <= {name.rpartition("-")[0] for name in assets.files}
    assert all(re.search(r"-[\w-]{8}\.\w+$", name) for name in assets.files)


def test_the_lock_file_holds_no_address() -> None:
    for name in ("package.json", "package-lock.json"):
        assert "://" not in (SOURCES / name).read_text(encoding="utf-8")


def test_introspection_can_be_switched_off(start: StartGateway) -> None:
    gateway = start(introspection=False)
    for document in ("{ __schema { description } }", '{ __type(name: "Thread") { name } }'):
        answer = gateway.query(document)
        assert "data" not in answer
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}
    assert gateway.data("{ __typename }") == {"__typename": "Query"}
    assert "type Thread" in gateway.data("{ _service { sdl } }")["_service"]["sdl"]


def test_without_introspection_no_field_is_suggested(start: StartGateway) -> None:
    document = '{ thread(id: "th-1") { statu } }'
    assert "status" in start().query(document)["errors"][0]["message"]
    assert "status" not in start(introspection=False).query(document)["errors"][0]["message"]
