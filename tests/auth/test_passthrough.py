"""Passthrough mode: the caller's own credentials go upstream, and only those."""

import pytest

from gateway.auth.challenges import LoginRequired
from gateway.auth.passthrough import PassthroughAuthenticator, normalized
from gateway.sandbox import PASSWORD, USERNAME, Sandbox
from tests.harness import StartGateway, build_authenticator, settings
from tests.upstream.cached import basic

QUERY = '{ thread(id: "th-1") { id } }'


def test_the_callers_header_goes_upstream_unchanged(start: StartGateway, sandbox: Sandbox) -> None:
    authorization = basic(USERNAME, PASSWORD)
    gateway = start({"authorization": authorization}, upstream_identity="passthrough")
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    assert [(call.route, call.headers["authorization"]) for call in sandbox.calls] == [("thread", authorization)]


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}])
def test_a_request_without_credentials_is_rejected(
    start: StartGateway, sandbox: Sandbox, headers: dict[str, str]
) -> None:
    response = start(headers, upstream_identity="passthrough").http.post("/graphql", json={"query": QUERY})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert error["message"] == "This call needs an Authorization header: Basic or Bearer, as for the REST API."
    assert sandbox.count() == 0


def test_credentials_that_cannot_be_sent_are_rejected(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough")
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers=[(b"authorization", b"Bearer \xff\xfe")])
    assert response.status_code == 401
    assert sandbox.count() == 0


@pytest.mark.parametrize("value", [None, "", " ", "   "])
async def test_nothing_is_no_credential_also_in_the_payload_of_a_websocket(value: str | None) -> None:
    with pytest.raises(LoginRequired):
        await PassthroughAuthenticator().authenticate(value, None, None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Bearer x", "bearer  x", True),
        ("Bearer x", "Bearer X", False),
        ("Bearer YQ==", "Bearer YQ", False),
        ("Basic YTpi", "Basic YT pi", True),
        ("Basic YQ==", "Basic YR==", True),
        ("Basic YQ==", "Bearer YQ==", False),
        ("Basic YQ==", "Basic a", False),
        ("Basic a", "BASIC a", True),
        ("Basic", "basic ", True),
        ("x", "y", False),
    ],
)
def test_spellings_of_the_same_credentials_are_equal(one: str, other: str, *, same: bool) -> None:
    assert (normalized(one) == normalized(other)) is same


async def test_a_callers_name_cannot_be_computed_without_the_secret() -> None:
    """The log has it: a reader could try passwords against a hash without a key."""
    authorization = basic(USERNAME, PASSWORD)

    async def named(secret: bytes | None) -> str:
        viewer = await PassthroughAuthenticator(secret).authenticate(authorization, None, None)
        return viewer.caller

    assert await named(b"the secret of one") == await named(b"the secret of one")
    assert len({await named(secret) for secret in (b"the secret of one", b"that of another", None, None)}) == 4


async def test_gateways_with_the_same_secret_give_a_caller_the_same_name() -> None:
    """They share its rate limit."""

    async def named(secret: str) -> str:
        chosen = settings(upstream_identity="passthrough", cache_secret=secret)
        return (await build_authenticator(chosen).authenticate(basic(USERNAME, PASSWORD), None, None)).caller

    one, same, other = [await named(secret * 16) for secret in "aab"]
    assert one == same != other
