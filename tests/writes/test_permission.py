"""Who may write, and by which requests."""

import hashlib
from pathlib import Path

import pytest

from gateway.auth.api_keys import generate_api_key
from gateway.sandbox import PASSWORD, USERNAME, Sandbox
from tests.harness import Gateway, StartGateway
from tests.programs import Start
from tests.writes.documents import SEND, TOKEN, UPDATE, update, writes

ALL = [(UPDATE, {"id": "th-1"}), (SEND, {}), (TOKEN, {})]


def test_no_mutation_runs_unless_the_operator_allows_it(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start()
    for document, given in ALL:
        answer = gateway.query(document, input=given)
        (name,) = answer["data"]
        assert answer["data"] == {name: None}
        (error,) = answer["errors"]
        assert (error["path"], error["extensions"]["code"]) == ([name], "MUTATIONS_DISABLED")
    assert sandbox.count() == 0


@pytest.mark.parametrize("field_scopes", [False, True])
def test_a_caller_needs_the_scope_in_service_mode(
    start: StartGateway, sandbox: Sandbox, tmp_path: Path, *, field_scopes: bool
) -> None:
    reader, writer = generate_api_key("reader", ["chat:read"], None), generate_api_key("writer", ["chat:write"], None)
    keys = tmp_path / "keys"
    keys.write_text(f"{reader[1]}\n{writer[1]}\n")
    options = {"inbound_auth": "api_key", "api_keys_file": keys, "field_scopes": field_scopes}
    gateway = start(mutations=True, headers={"x-api-key": reader[0]}, **options)
    for document, given in ALL:
        (error,) = gateway.query(document, input=given)["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert error["message"].endswith("the scope chat:write.")
    assert writes(sandbox) == 0
    gateway.http.headers["x-api-key"] = writer[0]
    assert update(gateway)["outcome"] == "APPLIED"


def test_a_caller_with_credentials_of_the_rest_api_needs_no_scope(start: StartGateway) -> None:
    gateway = start(upstream_identity="passthrough", inbound_auth=None, mutations=True)
    gateway.http.auth = (USERNAME, PASSWORD)
    assert update(gateway)["outcome"] == "APPLIED"


def test_a_get_never_writes(gateway: Gateway, sandbox: Sandbox) -> None:
    document = 'query Q { __typename } mutation M { updateThread(input: {id: "th-1"}) { outcome } }'
    for name in ("M", "Q"):
        response = gateway.http.get(
            "/graphql",
            params={"query": document, "operationName": name},
            headers={"apollo-require-preflight": "1"},
        )
        assert response.status_code == (405 if name == "M" else 200)
    assert writes(sandbox) == 0


def test_each_member_of_a_batch_writes_once(start: StartGateway, sandbox: Sandbox) -> None:
    """Also where the members before and after it fail."""
    gateway = start(mutations=True, max_batch=10)
    missing = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    change = {"query": UPDATE, "variables": {"input": {"id": "th-1", "tagCodes": ["a"]}}}
    batch = [{"extensions": missing}, change, {"query": "{ nonsense }"}, change, {"query": 7}]
    answers = gateway.http.post("/graphql", json=batch).json()
    assert [answer.get("errors", [{}])[0].get("extensions", {}).get("code") for answer in answers] == [
        "PERSISTED_QUERY_NOT_FOUND",
        None,
        "GRAPHQL_VALIDATION_FAILED",
        None,
        "BAD_USER_INPUT",
    ]
    assert [answers[at]["data"]["updateThread"]["outcome"] for at in (1, 3)] == ["APPLIED", "APPLIED"]
    assert sandbox.count("update_thread") == 2


def test_a_mutation_that_is_named_by_its_hash_writes_once(gateway: Gateway, sandbox: Sandbox) -> None:
    named = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(UPDATE.encode()).hexdigest()}}
    variables = {"input": {"id": "th-1", "tagCodes": ["a"]}}
    for query in (None, UPDATE, None):
        body = {"query": query, "variables": variables, "extensions": named}
        gateway.http.post("/graphql", json={name: value for name, value in body.items() if value is not None})
    assert sandbox.count("update_thread") == 2


def test_the_start_warns_where_anybody_may_write(begin: Start) -> None:
    options = {
        "upstream_url": "http://127.0.0.1:1",
        "upstream_identity": "service",
        "upstream_username": USERNAME,
        "upstream_password": PASSWORD,
        "inbound_auth": "none",
        "port": "0",
    }
    begin("serve", mutations="true", **options).err.until("every caller reads and writes with the gateway's own")
