"""Pages of other sites: what a browser sends for them without a preflight is refused; CORS allows named origins."""

import logging

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.harness import Gateway, StartGateway

QUERY = '{ thread(id: "th-100") { id } }'
ANSWER = {"data": {"thread": {"id": "th-100"}}}
APP = "https://app.example.com"
ELSEWHERE: dict[str, dict[str, str]] = {
    "an image": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "a link": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "accept": "text/html,*/*;q=0.8"},
    "fetch": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "https://evil.example"},
    "another subdomain": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    "fetch of an old browser": {"origin": "https://evil.example"},
    "a sandboxed page": {"origin": "null"},
    "an image in an old browser": {"referer": "https://evil.example/page"},
    "an origin that is none": {"origin": "http://["},
    "a page's address that is none": {"referer": "http://[::1"},
    "with a login that the browser adds": {"sec-fetch-site": "cross-site", "authorization": "Basic dTpw"},
    "a form": {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
    "an empty marker": {"sec-fetch-site": "cross-site", "apollo-require-preflight": ""},
}
BY_PROGRAMS: dict[str, dict[str, str]] = {
    "Apollo Client": {"content-type": "application/json"},
    "Apollo iOS and Kotlin": {"x-apollo-operation-name": "Q"},
    "Apollo's marker": {"apollo-require-preflight": "true"},
    "a marker of ours": {"gateway-require-preflight": "1"},
    "a token": {"authorization": "Bearer x"},
    "an API key": {"x-api-key": "x"},
}


def get(gateway: Gateway, headers: dict[str, str] | None = None) -> httpx.Response:
    return gateway.http.get("/graphql", params={"query": QUERY}, headers=headers)


def refused(response: httpx.Response) -> bool:
    if response.status_code != 403:
        assert response.json() == ANSWER
        return False
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "CSRF_PREVENTED"
    assert "apollo-require-preflight" in error["message"]
    return True


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("mode", ["cross-site", "strict"])
def test_a_get_that_another_site_may_have_caused_is_refused(
    start: StartGateway, sandbox: Sandbox, headers: dict[str, str], mode: str
) -> None:
    assert refused(get(start(csrf=mode), headers))
    assert sandbox.count() == 0


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_protection_can_be_switched_off(start: StartGateway, headers: dict[str, str]) -> None:
    assert not refused(get(start(csrf="off"), headers))


@pytest.mark.parametrize("headers", BY_PROGRAMS.values(), ids=BY_PROGRAMS)
def test_a_get_that_only_a_program_can_send_is_answered(start: StartGateway, headers: dict[str, str]) -> None:
    """For a page of another site, a browser sends a preflight request first, which is refused."""
    strict = start(csrf="strict")
    assert not refused(get(strict, headers))
    assert not refused(get(strict, {**headers, "sec-fetch-site": "cross-site", "origin": "https://evil.example"}))
    asked = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    preflight = strict.http.options("/graphql", headers=asked | {"access-control-request-headers": next(iter(headers))})
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [{}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-mode": "cors"}],
    ids=["a server", "an address typed in", "a page of ours", "Node.js"],
)
def test_a_get_without_another_site_needs_a_marker_only_in_strict_mode(
    start: StartGateway, headers: dict[str, str]
) -> None:
    assert not refused(get(start(), headers))
    assert refused(get(start(csrf="strict"), headers))


def test_in_an_old_browser_a_page_of_the_same_host_is_the_same_site(gateway: Gateway) -> None:
    assert not refused(get(gateway, {"origin": gateway.url}))
    assert not refused(get(gateway, {"referer": f"{gateway.url}/page"}))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_post_that_a_browser_sends_without_a_preflight_is_refused(gateway: Gateway, kind: str) -> None:
    response = gateway.http.post("/graphql", content=b'{"query": "{ __typename }"}', headers={"content-type": kind})
    assert response.status_code == 415


def test_a_json_post_is_answered_whatever_its_origin(start: StartGateway) -> None:
    headers = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    response = start(csrf="strict").http.post("/graphql", json={"query": QUERY}, headers=headers)
    assert response.json() == ANSWER, "it was asked first, and somebody in front of the gateway allowed it"
    assert "access-control-allow-origin" not in response.headers


def test_graphiqls_page_is_served_to_every_visitor(start: StartGateway) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "accept": "text/html"}
    response = start(graphiql=True, csrf="strict").http.get("/graphql", headers=headers)
    assert response.headers["content-type"].startswith("text/html")


def preflight(gateway: Gateway, origin: str, method: str = "POST") -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,x-request-id",
    }
    return gateway.http.options("/graphql", headers=headers)


@pytest.mark.parametrize("setting", [APP, f"https://other.example, {APP}", "*"])
def test_a_page_of_an_allowed_origin_may_send_requests_and_read_responses(start: StartGateway, setting: str) -> None:
    gateway = start(cors_origins=setting)
    expected = "*" if setting == "*" else APP
    asked = preflight(gateway, APP)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == expected
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type,x-request-id"
    assert asked.headers["access-control-allow-methods"] == "GET, POST"
    assert asked.headers["access-control-max-age"] == "3600"
    assert "x-request-id" in asked.headers
    browser = {"origin": APP, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    for response in (get(gateway, browser), gateway.http.post("/graphql", json={"query": QUERY}, headers=browser)):
        assert response.json() == ANSWER
        assert response.headers["access-control-allow-origin"] == expected
        assert response.headers["access-control-expose-headers"] == "*"
        assert "access-control-allow-credentials" not in response.headers
        varies = {each.strip().lower() for each in response.headers["vary"].split(",")}
        assert varies == {"accept", "origin"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{APP}.evil.example", f"{APP}:8443", "http://app.example.com", "null"]
)
def test_a_page_of_any_other_origin_may_not(start: StartGateway, origin: str) -> None:
    gateway = start(cors_origins=APP)
    asked = preflight(gateway, origin)
    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    assert refused(get(gateway, {"origin": origin, "sec-fetch-site": "cross-site"}))
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"origin": origin})
    assert "access-control-allow-origin" not in response.headers


def test_other_methods_are_not_allowed_to_a_page(start: StartGateway) -> None:
    assert preflight(start(cors_origins=APP), APP, "DELETE").status_code == 400


def test_allowing_any_origin_logs_a_warning(start: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gateway"):
        start(cors_origins=APP)
        assert "GATEWAY_CORS_ORIGINS" not in caplog.text
        start(cors_origins="*")
    assert "GATEWAY_CORS_ORIGINS is `*`" in caplog.text


HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/graphql", 200),
        ("POST", "/graphql?broken", 415),
        ("GET", "/graphql", 400),
        ("PUT", "/graphql", 405),
        ("GET", "/health", 200),
        ("GET", "/nothing", 404),
        ("OPTIONS", "/graphql", 200),
    ],
)
def test_every_response_has_the_security_headers_once(start: StartGateway, method: str, path: str, status: int) -> None:
    headers = {"origin": APP, "access-control-request-method": "POST"} if method == "OPTIONS" else {}
    body = {"json": {"query": QUERY}} if method == "POST" and path == "/graphql" else {}
    response = start(cors_origins=APP).http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]
    assert response.status_code == status
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value]
    assert "strict-transport-security" not in response.headers


def test_a_response_with_its_own_security_header_keeps_it(start: StartGateway) -> None:
    page = start(graphiql=True).http.get("/graphql", headers={"accept": "text/html"})
    assert page.headers.get_list("referrer-policy") == ["same-origin"]
    (policy,) = page.headers.get_list("content-security-policy")
    assert "script-src 'self'" in policy
    assert page.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("{ thred(id: 1) { id } }", None),
        ("{ thread(idd: 1) { id } }", None),
        ("{ thread(id: 1) { ... on Thred { id } } }", None),
        ("{ thread(id: 1) { id @skp(if: true) } }", None),
        ("{ thread(id: 1) { id @skip(iff: true) } }", None),
        ("query ($a: Idd!) { thread(id: $a) { id } }", None),
        ('{ __type(name: "Thread") { fields(includeDeprecate: true) { name } } }', None),
        ("query ($a: Int) { thread(id: 1) { messages(first: $a, aftr: 1) { totalCount } } }", {"a": "many"}),
    ],
)
def test_without_introspection_errors_suggest_no_names(
    start: StartGateway, document: str, variables: dict[str, str] | None
) -> None:
    gateway = start(introspection=False)
    response = gateway.http.post("/graphql", json={"query": document, "variables": variables})
    assert "errors" in response.json()
    assert "did you mean" not in response.text.lower()
    assert not [name for name in ("includeDeprecated", '\\"after\\"', "customer") if name in response.text]
