"""Documents named by their hash: automatic persisted queries, and ``documentId``."""

import hashlib
import json
from base64 import b64encode
from typing import Any

import httpx
import pytest
import redis

from gateway.sandbox import PASSWORD, USERNAME, Sandbox
from tests.harness import Clock, Gateway, StartGateway
from tests.upstream.redis_server import RedisServer

QUERY = '{ thread(id: "th-100") { id } }'
ANSWER = {"data": {"thread": {"id": "th-100"}}}
GRAPHQL = "application/graphql-response+json"


def digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def named(document: str, **more: Any) -> dict[str, Any]:
    """Return a request that names the document without containing it."""
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(document)}}, **more}


def ask(gateway: Gateway, request: dict[str, Any], method: str = "POST", **headers: str) -> httpx.Response:
    if method == "POST":
        return gateway.http.post("/graphql", json=request, headers=headers)
    parameters = {name: value if isinstance(value, str) else json.dumps(value) for name, value in request.items()}
    return gateway.http.get("/graphql", params=parameters, headers=headers)


def code_of(response: httpx.Response) -> str:
    (error,) = response.json()["errors"]
    code: str = error["extensions"]["code"]
    return code


def teach(gateway: Gateway, document: str) -> None:
    assert "data" in ask(gateway, named(document, query=document)).json()


def knows(gateway: Gateway, document: str) -> bool:
    response = ask(gateway, named(document))
    return "data" in response.json() or code_of(response) != "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("taught_by", ["GET", "POST"])
def test_a_document_sent_once_with_its_hash_is_known_by_the_hash(gateway: Gateway, method: str, taught_by: str) -> None:
    unknown = ask(gateway, named(QUERY), method)
    assert (unknown.status_code, code_of(unknown)) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound", "which clients look for"
    assert "data" not in unknown.json()
    assert ask(gateway, named(QUERY, query=QUERY), taught_by).json() == ANSWER
    assert ask(gateway, named(QUERY), method).json() == ANSWER
    assert ask(gateway, {"documentId": f"sha256:{digest(QUERY)}"}, method).json() == ANSWER


def test_variables_and_the_operations_name_go_with_the_hash(gateway: Gateway) -> None:
    document = "query A($id: ID!) { thread(id: $id) { id } } query B { __typename }"
    with_variables = {"variables": {"id": "th-100"}, "operationName": "A"}
    assert ask(gateway, named(document, query=document, **with_variables)).json() == ANSWER
    assert ask(gateway, named(document, **with_variables), "GET").json() == ANSWER
    assert ask(gateway, named(document, operationName="B")).json() == {"data": {"__typename": "Query"}}


def test_an_unknown_document_is_400_as_graphql_response(gateway: Gateway) -> None:
    response = ask(gateway, named(QUERY), accept=GRAPHQL)
    assert (response.status_code, code_of(response)) == (400, "PERSISTED_QUERY_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_document_id_is_an_error(gateway: Gateway, method: str) -> None:
    response = ask(gateway, {"documentId": f"sha256:{digest(QUERY)}"}, method)
    assert (response.status_code, code_of(response)) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert "documentId" in response.json()["errors"][0]["message"]


def test_a_hash_of_another_document_is_refused_and_not_registered(gateway: Gateway, sandbox: Sandbox) -> None:
    response = ask(gateway, named("{ __typename }", query=QUERY))
    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")
    assert "sha256Hash" in response.json()["errors"][0]["message"]
    assert sandbox.count() == 0
    assert not knows(gateway, QUERY)
    assert not knows(gateway, "{ __typename }")


@pytest.mark.parametrize(
    ("document", "code"), [("{ thread(", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "GRAPHQL_VALIDATION_FAILED")]
)
def test_an_invalid_document_is_not_registered(gateway: Gateway, document: str, code: str) -> None:
    assert code_of(ask(gateway, named(document, query=document))) == code
    assert not knows(gateway, document)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"extensions": {"persistedQuery": "x"}}, "must be a JSON object"),
        ({"extensions": {"persistedQuery": {"sha256Hash": digest(QUERY)}}}, "version` must be 1"),
        ({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": digest(QUERY)}}}, "version` must be 1"),
        ({"extensions": {"persistedQuery": {"version": 1}}}, "64 lower-case hexadecimal digits"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": 7}}}, "64 lower-case hexadecimal digits"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab"}}}, "64 lower-case hexadecimal digits"),
        ({"extensions": {"persistedQuery": None}}, "`query` is missing"),
        ({"documentId": digest(QUERY)}, "must be `sha256:`"),
        ({"documentId": f"sha256:{digest(QUERY).upper()}"}, "must be `sha256:`"),
        ({"documentId": f"sha256:{digest(QUERY)}\n"}, "must be `sha256:`"),
        ({"documentId": f"md5:{'0' * 32}"}, "must be `sha256:`"),
        ({"documentId": 7}, "must be `sha256:`"),
        ({"documentId": ""}, "must be `sha256:`"),
        ({"documentId": f"sha256:{digest(QUERY)}", "query": QUERY}, "one of them"),
        ({"documentId": None}, "`query` is missing"),
    ],
)
def test_an_invalid_name_is_400(gateway: Gateway, request_: dict[str, Any], expected: str) -> None:
    response = ask(gateway, request_)
    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")
    assert expected in response.json()["errors"][0]["message"]


def test_other_extensions_and_no_document_id_change_nothing(gateway: Gateway) -> None:
    assert ask(gateway, {"query": QUERY, "extensions": {"tracing": 1}, "documentId": None}).json() == ANSWER


PASSTHROUGH = {
    "upstream_identity": "passthrough",
    "upstream_username": None,
    "upstream_password": None,
    "inbound_auth": None,
}


def test_a_caller_without_credentials_can_neither_look_up_nor_register(start: StartGateway) -> None:
    gateway = start(**PASSTHROUGH)
    assert ask(gateway, named(QUERY, query=QUERY)).status_code == 401
    assert ask(gateway, named(QUERY)).status_code == 401
    assert code_of(ask(gateway, named(QUERY), authorization="Bearer x")) == "PERSISTED_QUERY_NOT_FOUND"


def basic(password: str) -> dict[str, str]:
    login = b64encode(f"{USERNAME}:{password}".encode()).decode()
    return {"authorization": f"Basic {login}"}


@pytest.mark.parametrize("document", [QUERY, "{ __typename }"], ids=["rejected", "never asked"])
def test_a_document_of_an_unverified_caller_is_not_registered(
    start: StartGateway, server: RedisServer, document: str
) -> None:
    """In passthrough mode anyone can invent credentials; their documents use neither memory nor Redis."""
    gateway = with_redis(start, server, **PASSTHROUGH)
    for headers in (basic("made up"), {"authorization": "Bearer made-up"}):
        response = ask(gateway, named(document, query=document), **headers)
        assert "PERSISTED" not in response.text
        assert code_of(ask(gateway, named(document), **headers)) == "PERSISTED_QUERY_NOT_FOUND"
    with redis.Redis.from_url(server.url) as client:
        assert client.keys("*persisted*") == []


@pytest.mark.parametrize("cache_ttl_thread", [0, 60], ids=["fetched", "then cached"])
def test_a_document_of_a_verified_caller_is_registered_for_all(
    start: StartGateway, server: RedisServer, cache_ttl_thread: int
) -> None:
    one, other = (with_redis(start, server, **PASSTHROUGH, cache_ttl_thread=cache_ttl_thread) for _ in range(2))
    ask(one, named(QUERY, query=QUERY), **basic("made up"))
    assert ask(one, {"query": QUERY}, **basic(PASSWORD)).json() == ANSWER
    assert ask(one, named(QUERY, query=QUERY), **basic(PASSWORD)).json() == ANSWER
    for gateway in (one, other):
        assert ask(gateway, named(QUERY), **basic(PASSWORD)).json() == ANSWER


def test_memory_is_limited_and_evicts_the_least_recently_used(start: StartGateway) -> None:
    gateway = start(persisted_queries_max_bytes=64 * 1024)
    documents = [f"{{ __typename }} # {number} {'x' * 10_000}" for number in range(7)]
    for document in documents:
        teach(gateway, document)
    assert not knows(gateway, documents[0]), "six fit"
    assert all(knows(gateway, document) for document in documents[1:])


def test_the_longest_document_that_fits_is_registered_and_a_longer_one_only_executed(start: StartGateway) -> None:
    gateway = start(persisted_queries_max_bytes=64 * 1024, max_document=128 * 1024)
    fits, too_long = (
        f"{{ __typename }} #{'x' * length}" for length in (63 * 1024, 64 * 1024)
    )  # an entry takes space too
    teach(gateway, fits)
    assert knows(gateway, fits)
    teach(gateway, too_long)
    assert not knows(gateway, too_long)


def test_a_document_expires(start: StartGateway) -> None:
    clock = Clock()
    gateway = start(timing=clock.timing, persisted_queries_ttl=60)
    document = "{ __typename }"
    teach(gateway, document)
    clock.now += 59.9
    assert knows(gateway, document)
    clock.now += 0.1
    assert not knows(gateway, document)


def test_switched_off_it_is_an_error_that_clients_understand(start: StartGateway) -> None:
    gateway = start(persisted_queries=False)
    for request in (named(QUERY), named(QUERY, query=QUERY)):
        response = ask(gateway, request)
        assert (response.status_code, code_of(response)) == (200, "PERSISTED_QUERY_NOT_SUPPORTED")
        assert response.json()["errors"][0]["message"] == "PersistedQueryNotSupported", "which clients look for"
    response = ask(gateway, {"documentId": f"sha256:{digest(QUERY)}"})
    assert code_of(response) == "PERSISTED_QUERY_NOT_SUPPORTED"


@pytest.fixture
def server() -> Any:
    with RedisServer() as running:
        yield running


def with_redis(start: StartGateway, server: RedisServer, **more: Any) -> Gateway:
    return start(cache_url=server.url, cache_secret="a secret of the tests", cache_timeout=5, **more)


def test_gateways_that_share_a_redis_share_registered_documents(start: StartGateway, server: RedisServer) -> None:
    one, other = with_redis(start, server), with_redis(start, server)
    teach(one, QUERY)
    assert ask(other, named(QUERY), "GET").json() == ANSWER
    server.stop()
    assert ask(other, named(QUERY)).json() == ANSWER, "from its own memory"


def test_a_failing_redis_costs_one_more_request_and_no_error(start: StartGateway, server: RedisServer) -> None:
    gateway = with_redis(start, server)
    server.stop()
    assert code_of(ask(gateway, named(QUERY))) == "PERSISTED_QUERY_NOT_FOUND"
    teach(gateway, QUERY)
    assert ask(gateway, named(QUERY)).json() == ANSWER


def test_an_entry_of_redis_whose_hash_is_wrong_is_not_executed(start: StartGateway, server: RedisServer) -> None:
    gateway = with_redis(start, server)
    with redis.Redis.from_url(server.url) as client:
        client.set(f"gochat-gateway:persisted:{digest(QUERY)}", b"{ __typename }")
    assert code_of(ask(gateway, named(QUERY))) == "PERSISTED_QUERY_NOT_FOUND"
