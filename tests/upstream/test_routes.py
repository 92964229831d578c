"""An id is part of a path, and cannot change the route."""

import json

import pytest

from gateway.sandbox import Sandbox
from tests.harness import Gateway


@pytest.mark.parametrize(
    ("identifier", "path"),
    [
        ("a?b", "/api/v1/thread/a%3Fb"),
        ("a#b", "/api/v1/thread/a%23b"),
        ("100%", "/api/v1/thread/100%25"),
        ("%41", "/api/v1/thread/%2541"),
        ("...", "/api/v1/thread/..."),
        ("a;c|d'e", "/api/v1/thread/a%3Bc%7Cd%27e"),
        ("ünï", "/api/v1/thread/%C3%BCn%C3%AF"),
        ("a\u00a0b\u2028", "/api/v1/thread/a%C2%A0b%E2%80%A8"),
    ],
)
def test_an_id_reaches_its_route_and_no_other(gateway: Gateway, sandbox: Sandbox, identifier: str, path: str) -> None:
    assert gateway.data("query ($id: ID!) { thread(id: $id) { id } }", id=identifier) == {"thread": None}
    assert sandbox.calls[-1].path == path
    assert sandbox.calls[-1].route == "thread"


# A server in front of the REST API may decode a path, once or twice, before it looks for the route.
CHANGES_THE_ROUTE = [
    "a/b",
    "../customers/ceo",
    "a\\b",
    "..\\customers\\ceo",
    "/",
    "\\",
    "a/../b",
    "%2e%2e",
    "%2E.",
    ".%2e",
]
CHANGES_THE_ROUTE += ["..%2fcustomers%2fceo", "a%2Fb", "a%5Cb", "a%252Fb", "%25252e%25252e", "a%00b", "a%0d%0aX: y"]
CHANGES_THE_ROUTE += ["%ff", ".%ff.", ".%25ff"]  # a server may leave out what is no UTF-8
CONTROLS = ["\x00", "a\x00b", "a\r\nx: y", "a\nb", "\t", "\x1f", "\x7f", "a\x80b", "\x9f"]


@pytest.mark.parametrize("identifier", ["", ".", "..", "x" * 1025, "\ud800", *CHANGES_THE_ROUTE, *CONTROLS])
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


@pytest.mark.parametrize(
    ("identifier", "named"),
    [
        ("a/b", "`/`"),
        ("a\\b", "`\\`"),
        ("a\x00", "control"),
        ("a%2fb", "`/`"),
        ("..", "'..' is not an id"),
        ("x" * 1025, "at most 1024"),
    ],
)
def test_the_error_says_what_an_id_may_not_contain(gateway: Gateway, identifier: str, named: str) -> None:
    (error,) = gateway.query("query ($id: ID!) { thread(id: $id) { id } }", id=identifier)["errors"]
    assert named in error["message"]
    assert error["path"] == ["thread"]


def test_one_wrong_id_does_not_take_the_others_with_it(gateway: Gateway) -> None:
    answer = gateway.query("query ($ids: [ID!]!) { threads(ids: $ids) { id } }", ids=["th-1", "../x", "th-2"])
    assert answer["data"] == {"threads": [{"id": "th-1"}, None, {"id": "th-2"}]}
    assert [error["path"] for error in answer["errors"]] == [["threads", 1]]
