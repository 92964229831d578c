"""An id is part of a path, and cannot change the route."""

import json

import pytest

from gateway.sandbox import Sandbox
from tests.harness import Gateway


@pytest.mark.parametrize(
    ("identifier", "path"),
    [
        ("../customers/x", "/api/v1/thread/..%2Fcustomers%2Fx"),
        ("a/b", "/api/v1/thread/a%2Fb"),
        ("a?b", "/api/v1/thread/a%3Fb"),
        ("a#b", "/api/v1/thread/a%23b"),
        ("%2e%2e", "/api/v1/thread/%252e%252e"),
        ("a b\r\nx: y", "/api/v1/thread/a%20b%0D%0Ax%3A%20y"),
        ("...", "/api/v1/thread/..."),
        ("a\\b;c|d'e", "/api/v1/thread/a%5Cb%3Bc%7Cd%27e"),
        ("ünï", "/api/v1/thread/%C3%BCn%C3%AF"),
        ("\x00", "/api/v1/thread/%00"),
    ],
)
def test_an_id_reaches_its_route_and_no_other(gateway: Gateway, sandbox: Sandbox, identifier: str, path: str) -> None:
    assert gateway.data("query ($id: ID!) { thread(id: $id) { id } }", id=identifier) == {"thread": None}
    assert sandbox.calls[-1].path == path
    assert sandbox.calls[-1].route == "thread"


@pytest.mark.parametrize("identifier", ["", ".", "..", "x" * 1025, "\ud800"])
def test_an_id_that_cannot_be_in_a_path_is_rejected(gateway: Gateway, sandbox: Sandbox, identifier: str) -> None:
    document = """query ($id: ID!) {
      thread(id: $id) { id } customer(externalId: $id) { id }
    }"""
    body = '{"query": %s, "variables": {"id": %s}}'
    response = gateway.http.post(
        "/graphql",
        content=body % (json.dumps(document), json.dumps(identifier)),
        headers={"content-type": "application/json"},
    )
    codes = {error["extensions"]["code"] for error in response.json()["errors"]}
    assert codes == {"BAD_USER_INPUT"}
    assert sandbox.count() == 0
