"""GraphQL over HTTP, and a clear error for every other request."""

import json
import socket
from typing import Any

import httpx
import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway

QUERY = '{ thread(id: "th-100") { id } }'
ANSWER = {"data": {"thread": {"id": "th-100"}}}
WRITE = 'mutation { updateThread(input: {id: "th-1", status: 3}) { outcome } }'
SEVERAL = "The document has several operations: say which one with `operationName`."
BOTH_NAMED = json.dumps({"query": QUERY, "documentId": f"sha256:{'0' * 64}"}).encode()
JSON = "application/json; charset=utf-8"
GRAPHQL = "application/graphql-response+json"


def error_of(response: httpx.Response, status: int, code: str = "BAD_USER_INPUT") -> str:
    """Check that a response is one JSON error, and return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == JSON
    body = response.json()
    assert "data" not in body
    (error,) = body["errors"]
    assert error["extensions"]["code"] == code
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return str(error["message"])


def test_post_with_json_is_answered(gateway: Gateway) -> None:
    response = gateway.http.post("/graphql", json={"query": QUERY})
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert response.headers["content-type"] == JSON


def test_get_with_parameters_is_answered(gateway: Gateway) -> None:
    document = "query A($id: ID!) { thread(id: $id) { id } } query B { __typename }"
    parameters = {"query": document, "variables": '{"id": "th-100"}', "operationName": "A"}
    assert gateway.http.get("/graphql", params=parameters).json() == ANSWER


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        (GRAPHQL, f"{GRAPHQL}; charset=utf-8"),
        (f"{GRAPHQL}, application/json;q=0.9", f"{GRAPHQL}; charset=utf-8"),
        (f"application/json;q=0.4, {GRAPHQL};q=0.5", f"{GRAPHQL}; charset=utf-8"),
        (f"{GRAPHQL};q=0, */*", JSON),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", JSON),
    ],
)
def test_the_response_has_the_media_type_that_accept_prefers(
    gateway: Gateway, accept: str | None, expected: str
) -> None:
    headers = {"accept": accept} if accept is not None else {}
    request = gateway.http.build_request("POST", "/graphql", json={"query": QUERY}, headers=headers)
    if accept is None:
        del request.headers["accept"]
    response = gateway.http.send(request)
    assert (response.status_code, response.headers["content-type"]) == (200, expected)
    assert response.headers["vary"] == "accept"


def test_a_refusal_has_the_media_type_that_accept_prefers(start: StartGateway) -> None:
    """Apollo Client reads the errors of a 401 only where it is ``application/graphql-response+json``."""
    response = start(upstream_identity="passthrough").http.post(
        "/graphql", json={"query": QUERY}, headers={"accept": f"{GRAPHQL}, application/json;q=0.9"}
    )
    assert (response.status_code, response.headers["content-type"]) == (401, f"{GRAPHQL}; charset=utf-8")
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("accept", ["text/plain", "image/*", "application/json;q=0"])
def test_a_client_that_accepts_none_of_them_gets_406(gateway: Gateway, accept: str) -> None:
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"accept": accept})
    offered = "application/json, application/graphql-response+json, text/event-stream"
    assert error_of(response, 406) == f"Answers come as one of {offered}."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The request's body is not JSON."),
        (b"{", "The request's body is not JSON."),
        (b"\xff\xff", "The request's body is not JSON."),
        (b"[" * 40_000, "The request's body is nested too deeply."),
        (b"null", "The request's body must be a JSON object with `query`."),
        (b'"query"', "The request's body must be a JSON object with `query`."),
        (b"[]", "This gateway takes no batches: send one operation, or set GATEWAY_MAX_BATCH above 1."),
        (b"{}", "`query` is missing: it holds the GraphQL document."),
        (b'{"query": ""}', "`query` is missing: it holds the GraphQL document."),
        (b'{"query": null}', "`query` is missing: it holds the GraphQL document."),
        (b'{"query": 7}', "`query` must be a string that holds the GraphQL document."),
        (b'{"query": {}}', "`query` must be a string that holds the GraphQL document."),
        (BOTH_NAMED, "`documentId` stands in place of `query`: send one of them."),
        (b'{"query": "{ __typename }", "variables": []}', "`variables` must be a JSON object or null."),
        (b'{"query": "{ __typename }", "variables": "{}"}', "`variables` must be a JSON object or null."),
        (b'{"query": "{ __typename }", "extensions": 1}', "`extensions` must be a JSON object or null."),
        (b'{"query": "{ __typename }", "operationName": 1}', "`operationName` must be a string or null."),
        (b'{"query": "{ __typename }", "operationName": "Nope"}', "The document has no operation named 'Nope'."),
        (b'{"query": "query A { __typename } query B { __typename }"}', SEVERAL),
        (b'{"query": "fragment F on Thread { id } "}', "Fragment"),
    ],
)
def test_the_error_of_an_invalid_request_says_what_is_wrong(gateway: Gateway, body: bytes, message: str) -> None:
    response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    if message == "Fragment":  # a document that is GraphQL, but not valid: 200 as application/json
        assert message in response.json()["errors"][0]["message"]
        return
    assert error_of(response, 400) == message


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ("query=%ff", 400, "BAD_USER_INPUT", "The query string is not valid percent-encoded UTF-8."),
        ("query=x&variables={", 400, "BAD_USER_INPUT", "The parameter `variables` is not JSON."),
        ("query=x&extensions={", 400, "BAD_USER_INPUT", "The parameter `extensions` is not JSON."),
        (f"query={WRITE}", 405, "BAD_USER_INPUT", "Only queries can be sent with GET."),
        ("x" * 32_769, 414, "MAX_URL_LIMIT", "The query string is longer than 32768 bytes: use POST."),
    ],
    ids=lambda each: str(each)[:20],
)
def test_the_error_of_an_invalid_get_says_what_is_wrong(
    start: StartGateway, query: str, status: int, code: str, message: str
) -> None:
    assert error_of(start(mutations=True).http.get(f"/graphql?{query}"), status, code) == message


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/graphql", "application/json; charset=latin-1"],
)
def test_a_body_that_is_not_declared_as_json_is_refused(gateway: Gateway, content_type: str | None) -> None:
    """A browser may send such a body across origins without a preflight."""
    headers = {} if content_type is None else {"content-type": content_type}
    response = gateway.http.post("/graphql", content=json.dumps({"query": QUERY}), headers=headers)
    message = "The request's body must be JSON in UTF-8, with `Content-Type: application/json`."
    assert error_of(response, 415) == message


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_json_may_declare_its_charset(gateway: Gateway, content_type: str) -> None:
    response = gateway.http.post(
        "/graphql", content=json.dumps({"query": QUERY}), headers={"content-type": content_type}
    )
    assert response.json() == ANSWER


def test_a_body_over_the_limit_is_refused_and_the_connection_stays_usable(gateway: Gateway) -> None:
    body = json.dumps({"query": QUERY, "variables": {"x": "y" * 20_000_000}})
    response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert error_of(response, 413, "MAX_BODY_LIMIT") == "The request's body is larger than 1048576 bytes."
    assert gateway.data(QUERY) == ANSWER["data"]


@pytest.mark.parametrize(("size", "status"), [(2048, 200), (2049, 413)])
def test_the_limit_of_a_body_is_exact(start: StartGateway, size: int, status: int) -> None:
    gateway = start(max_body=2048)
    body = json.dumps({"query": QUERY}).encode()
    body += b" " * (size - len(body))
    response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status

    def in_pieces() -> Any:
        yield body[:1000]
        yield body[1000:]

    response = gateway.http.post("/graphql", content=in_pieces(), headers={"content-type": "application/json"})
    assert response.status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_are_not_allowed(gateway: Gateway, method: str) -> None:
    response = gateway.http.request(method, "/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert method == "HEAD" or error_of(response, 405) == "GraphQL is asked with GET or POST."


@pytest.mark.parametrize(
    ("document", "code", "status_of_graphql_response"),
    [
        ("{ thread(id: ", "GRAPHQL_PARSE_FAILED", 400),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED", 400),
        ("query ($id: ID!) { thread(id: $id) { id } }", "BAD_USER_INPUT", 400),
        ("{" * 5000, "GRAPHQL_PARSE_FAILED", 400),
    ],
)
def test_an_operation_that_cannot_begin_has_no_data(
    gateway: Gateway, document: str, code: str, status_of_graphql_response: int
) -> None:
    """As ``application/json`` it is 200: a client may take any other status for the failure of a proxy."""
    for accept, status in (("application/json", 200), (GRAPHQL, status_of_graphql_response)):
        response = gateway.http.post("/graphql", json={"query": document}, headers={"accept": accept})
        assert response.status_code == status
        assert list(response.json()) == ["errors"]
        assert response.json()["errors"][0]["extensions"]["code"] == code


def test_a_variable_of_the_wrong_type_names_it(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = gateway.query("query ($id: ID!) { thread(id: $id) { id } }", id={"not": "an id"})
    assert "$id" in answer["errors"][0]["message"]
    assert sandbox.count() == 0


def test_partial_data_is_200_in_both_media_types(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", status=500))
    for accept in ("application/json", GRAPHQL):
        document = '{ a: thread(id: "th-1") { id } b: thread(id: "th-2") { id } }'
        response = gateway.http.post("/graphql", json={"query": document}, headers={"accept": accept})
        assert response.status_code == 200
        assert response.json()["data"] == {"a": None, "b": {"id": "th-2"}}


def test_without_graphiql_a_browser_gets_an_error_that_names_the_missing_query(start: StartGateway) -> None:
    response = start(graphiql=False).http.get("/graphql", headers={"accept": "text/html,*/*;q=0.8"})
    assert "`query` is missing" in error_of(response, 400)


def test_the_callers_request_id_is_kept_where_it_is_harmless(gateway: Gateway) -> None:
    kept = gateway.http.post("/graphql", json={"query": "{ x }"}, headers={"x-request-id": "abc-1.2:3_4"})
    assert kept.headers["x-request-id"] == kept.json()["errors"][0]["extensions"]["requestId"] == "abc-1.2:3_4"
    for unsafe in ("a b", "x" * 129, '"quoted"'):
        response = gateway.http.post("/graphql", json={"query": QUERY}, headers={"x-request-id": unsafe})
        assert response.headers["x-request-id"] not in (unsafe, "")


def test_a_client_that_disconnects_while_it_sends_affects_no_other(gateway: Gateway) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        client.sendall(head.encode())
    assert gateway.data(QUERY) == ANSWER["data"]


def test_non_ascii_text_is_preserved_in_both_directions(gateway: Gateway) -> None:
    assert gateway.data("query ($id: ID!) { thread(id: $id) { id } }", id="th-ünï code?") == {
        "thread": {"id": "th-ünï code?"}
    }


def test_health_reports_that_the_process_is_alive(gateway: Gateway) -> None:
    assert gateway.http.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/nope", "/graphql/", "/health/", "/ready/"])
def test_any_other_path_is_not_found(gateway: Gateway, path: str) -> None:
    """There is no redirect: its address would come from ``Host``, which the client chooses."""
    response = gateway.http.get(path, headers={"host": "evil.example"})
    assert response.status_code == 404
    assert "location" not in response.headers
