"""Field scopes: in tokens, in responses, in incremental responses, and in the schema."""

from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.auth.issuer import Issuer
from tests.harness import Gateway, StartGateway

THREAD = """{ thread(id: "th-1") {
  status lastMessage { id subject } customers { id firstName nameVariations { lastName } }
} }"""
BOTH = "customer:personal message:content"


def ask(gateway: Gateway, token: str, document: str = THREAD, **headers: str) -> Any:
    headers |= {"authorization": f"Bearer {token}"}
    return gateway.http.post("/graphql", json={"query": document}, headers=headers)


@pytest.fixture
def gateway(start_with_tokens: StartGateway) -> Gateway:
    return start_with_tokens(field_scopes=True, cache_url="memory://")


def test_the_scopes_of_a_token_decide_which_fields_are_visible(
    gateway: Gateway, issuer: Issuer, sandbox: Sandbox
) -> None:
    full = ask(gateway, issuer.token(scope=BOTH)).json()
    assert "errors" not in full
    assert full["data"]["thread"]["lastMessage"]["subject"]
    for scope, subject, name in (
        ("message:content", True, False),
        ("customer:personal", False, True),
        ("other", False, False),
    ):
        answer = ask(gateway, issuer.token(scope=scope)).json()
        thread = answer["data"]["thread"]
        assert thread["status"] == full["data"]["thread"]["status"]
        assert (thread["lastMessage"] == full["data"]["thread"]["lastMessage"]) is subject
        assert (thread["customers"] == full["data"]["thread"]["customers"]) is name
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert sandbox.count("thread") == 1, "all from the cached response, which holds more than these callers may see"


def test_a_withheld_value_is_nowhere_in_the_response(gateway: Gateway, issuer: Issuer) -> None:
    full = ask(gateway, issuer.token(scope=BOTH)).json()
    withheld = ask(gateway, issuer.token()).text
    secrets = [full["data"]["thread"]["lastMessage"]["subject"]]
    secrets += [each["firstName"] for each in full["data"]["thread"]["customers"] if each["firstName"]]
    assert len(secrets) > 1
    assert [each for each in secrets if each in withheld] == []


def test_the_subgraph_schema_declares_the_required_scopes(gateway: Gateway, issuer: Issuer) -> None:
    sdl = ask(gateway, issuer.token(), "{ _service { sdl } }").json()["data"]["_service"]["sdl"]
    assert 'subject: String @requiresScopes(scopes: [["message:content"]])' in sdl


def test_incremental_responses_withhold_fields_too(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(field_scopes=True, incremental=True)
    document = '{ thread(id: "th-1") { id ... @defer { lastMessage { id subject } } } }'
    parts = {"accept": "multipart/mixed, application/json"}
    shown = ask(gateway, issuer.token(scope=BOTH), document, **parts).text
    withheld = ask(gateway, issuer.token(), document, **parts).text
    assert '"subject":null' in withheld
    assert "This field needs the scope message:content." in withheld
    assert '"subject":null' not in shown
