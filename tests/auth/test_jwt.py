"""Which tokens are accepted and which are rejected (RFC 7519, RFC 8725)."""

import asyncio
import base64
import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.auth.challenges import CredentialsRefused
from gateway.auth.jwks import StaticKey
from gateway.auth.jwt import JwtPolicy, JwtVerifier
from gateway.sandbox import Sandbox
from tests.auth.conftest import Ask, ask
from tests.auth.issuer import AUDIENCE, NAME, Issuer, encoded, forged
from tests.harness import Clock, StartGateway
from tests.selection import PROPERTY_CASES

KEY = ECKey.generate_key("P-256")
REFUSED = {"message": "The credentials are not valid.", "code": "UNAUTHENTICATED"}


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


def refusal(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a 401 without the request id."""
    assert response.status_code == 401, response.text
    (error,) = response.json()["errors"]
    assert set(error) == {"message", "extensions"}
    assert set(error["extensions"]) == {"code", "requestId"}
    return {"message": error["message"], "code": error["extensions"]["code"]}


def test_a_token_of_the_issuer_authenticates_its_caller(
    ask_authenticated: Ask, issuer: Issuer, sandbox: Sandbox
) -> None:
    token = issuer.token()
    for scheme in ("Bearer", "bearer", "BEARER "):
        response = ask_authenticated(authorization=f"{scheme} {token}")
        assert (response.status_code, response.json()) == (200, {"data": {"thread": {"id": "th-1"}}})
    assert token not in {call.headers.get("authorization", "").removeprefix("Bearer ") for call in sandbox.calls}


def test_a_request_without_a_token_gets_an_error_that_names_the_header(
    ask_authenticated: Ask, sandbox: Sandbox
) -> None:
    for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": ""}, {"x_api_key": "gochat_a_b"}):
        response = ask_authenticated(**headers)
        assert refusal(response)["message"] == "This call needs a bearer token in the header Authorization."
        assert response.headers["www-authenticate"] == 'Bearer realm="gochat-gateway"', (
            "RFC 6750: no error code without credentials"
        )
    assert sandbox.count() == 0


CHANGED: dict[str, dict[str, Any]] = {
    "expired": {"exp": -31},
    "without an end": {"exp": None},
    "with an end that is no number": {"exp": "tomorrow"},
    "not valid yet": {"nbf": 31},
    "issued in the future": {"iat": 31},
    "of another issuer": {"iss": "https://issuer.example.evil"},
    "without an issuer": {"iss": None},
    "with a list of issuers": {"iss": [NAME]},
    "for another audience": {"aud": "somebody-else"},
    "without an audience": {"aud": None},
    "for an empty list": {"aud": []},
    "for a number": {"aud": 7},
    "without a subject": {"sub": None},
    "with an empty subject": {"sub": ""},
    "with a subject that is no text": {"sub": {"name": "alice"}},
}


@pytest.mark.parametrize("changes", CHANGED.values(), ids=CHANGED.keys())
def test_a_token_with_a_wrong_claim_is_rejected(
    ask_authenticated: Ask, issuer: Issuer, changes: dict[str, Any]
) -> None:
    now = int(issuer.clock())
    claims: dict[str, Any] = {
        name: now + value if name in {"exp", "nbf", "iat"} and isinstance(value, int) else value
        for name, value in changes.items()
    }
    response = ask_authenticated(issuer.token(**claims))
    assert refusal(response) == REFUSED
    assert response.headers["www-authenticate"] == 'Bearer realm="gochat-gateway", error="invalid_token"'


@pytest.mark.parametrize("changes", [{"exp": -29}, {"nbf": 29}, {"iat": 29}])
def test_the_issuers_clock_may_differ_by_the_leeway(
    ask_authenticated: Ask, issuer: Issuer, changes: dict[str, int]
) -> None:
    now = int(issuer.clock())
    shifted: dict[str, Any] = {name: now + value for name, value in changes.items()}
    token = issuer.token(**shifted)
    assert ask_authenticated(token).status_code == 200


def test_a_token_may_be_for_several_audiences(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(jwt_audience=f"other {AUDIENCE}")
    assert ask(gateway, issuer.token(aud=["somebody-else", AUDIENCE])).status_code == 200
    assert ask(gateway, issuer.token(aud="other")).status_code == 200
    assert ask(gateway, issuer.token(aud=["somebody-else"])).status_code == 401


def test_a_client_may_have_a_token_of_its_own(ask_authenticated: Ask, issuer: Issuer) -> None:
    assert ask_authenticated(issuer.token(sub=None, client_id="billing")).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, ["ES256"]])
def test_an_unsigned_token_is_rejected(ask_authenticated: Ask, issuer: Issuer, algorithm: Any) -> None:
    for secret in (None, b"", b"x"):
        token = forged({"alg": algorithm, "kid": "first", "typ": "JWT"}, issuer.claims(), secret)
        assert refusal(ask_authenticated(token)) == REFUSED


def test_the_public_key_is_not_accepted_as_an_hmac_secret(ask_authenticated: Ask, issuer: Issuer) -> None:
    """A verifier that trusts the token's algorithm would use the public key as the HMAC secret (RFC 8725, 2.1)."""
    public = issuer.keys["first"]
    for secret in (
        public.as_pem(private=False),
        public.as_der(private=False),
        json.dumps(public.as_dict(private=False)).encode(),
    ):
        token = forged({"alg": "HS256", "kid": "first"}, issuer.claims(), secret)
        assert refusal(ask_authenticated(token)) == REFUSED


def test_a_key_verifies_its_own_algorithm_only(start_with_tokens: StartGateway, issuer: Issuer, rsa: RSAKey) -> None:
    gateway = start_with_tokens(jwt_algorithms="RS256 ES256 PS256")
    issuer.rotate("rsa", rsa, keep=True)
    assert ask(gateway, issuer.token()).status_code == 200
    assert ask(gateway, issuer.token(header={"kid": "first"})).status_code == 401
    issuer.rotate("pinned", RSAKey.import_key({**rsa.as_dict(private=True), "alg": "PS256"}))
    issuer.clock.now += 11
    assert ask(gateway, issuer.token(header={"alg": "RS256"}, key=rsa)).status_code == 401
    assert ask(gateway, issuer.token(header={"alg": "PS256"}, key=rsa)).status_code == 200


def test_only_the_configured_algorithms_are_accepted(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(jwt_algorithms="RS256")
    assert refusal(ask(gateway, issuer.token())) == REFUSED
    assert issuer.fetches == 0, "the issuer gets no request for it"


def test_a_key_inside_the_token_is_ignored(ask_authenticated: Ask, issuer: Issuer) -> None:
    mine = ECKey.generate_key("P-256", {"kid": "first"})
    for header in (
        {"jwk": mine.as_dict(private=False)},
        {"jku": issuer.url, "kid": "first"},
        {"kid": "first"},
        {"kid": "../../dev/null"},
        {"kid": None},
    ):
        assert refusal(ask_authenticated(issuer.token(header=header, key=mine))) == REFUSED


def test_a_token_with_a_critical_extension_is_rejected(ask_authenticated: Ask, issuer: Issuer) -> None:
    assert ask_authenticated(issuer.token(header={"nonce": "x"})).status_code == 200
    token = issuer.token(header={"crit": ["b64"], "b64": True})
    assert refusal(ask_authenticated(token)) == REFUSED


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"])
def test_a_token_of_a_kind_that_says_who_calls_is_accepted(
    ask_authenticated: Ask, issuer: Issuer, kind: str | None
) -> None:
    assert ask_authenticated(token_of_kind(issuer, kind)).status_code == 200


def token_of_kind(issuer: Issuer, kind: Any) -> str:
    """Return a token with any JSON value as its ``typ``, None for no ``typ``."""
    header = HEADER if kind is None else {**HEADER, "typ": kind}
    signed = f"{encoded(header)}.{encoded(issuer.claims())}"
    signature = JWSRegistry.algorithms["ES256"].sign(signed.encode(), issuer.keys["first"])
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "kind",
    ["logout+jwt", "secevent+jwt", "dpop+jwt", "application/logout+jwt", "", "JWS", "at+jwt ", 1, ["JWT"], {}, True],
)
def test_a_token_of_another_kind_is_rejected(ask_authenticated: Ask, issuer: Issuer, kind: Any) -> None:
    """RFC 8725, section 3.11: it has the same issuer, key and claims."""
    assert refusal(ask_authenticated(token_of_kind(issuer, kind))) == REFUSED


def test_a_damaged_token_is_rejected(ask_authenticated: Ask, issuer: Issuer) -> None:
    token = issuer.token()
    header, payload, signature = token.split(".")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    for damaged in (
        token[:-10],
        token[: len(token) // 2],
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{token}.{signature}",
        f"{header}.{payload}.{changed}",
        f"{header}.{forged({}, issuer.claims(sub='mallory')).split('.')[1]}.{signature}",
        "...",
        "a.b.c",
        "ä.ö.ü",
        "W10.W10.W10",
    ):
        assert refusal(ask_authenticated(authorization=f"Bearer {damaged}".encode())) == REFUSED, damaged


def test_a_huge_token_is_rejected_without_decoding(ask_authenticated: Ask, issuer: Issuer) -> None:
    assert refusal(ask_authenticated(issuer.token(padding="x" * 10_000))) == REFUSED
    deep = forged({"alg": "ES256", "kid": "first"}, {}).split(".")
    assert refusal(ask_authenticated(f"{'W1' * 2000}.{deep[1]}.{deep[2]}")) == REFUSED
    assert issuer.fetches == 0


def test_a_cached_token_is_rejected_after_it_expires(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    token = issuer.token(exp=int(clock()) + 100)
    assert ask_authenticated(token).status_code == 200
    clock.now += 129
    assert ask_authenticated(token).status_code == 200, "within the leeway"
    clock.now += 2
    assert refusal(ask_authenticated(token)) == REFUSED


def test_an_expiry_beyond_the_range_of_numbers_is_no_failure(ask_authenticated: Ask, issuer: Issuer) -> None:
    token = issuer.token(exp=10**400)
    assert [ask_authenticated(token).status_code for _ in range(2)] in ([200, 200], [401, 401])


TOO_FEW: list[dict[str, Any]] = [
    {},
    {"scope": "chat:read"},
    {"scope": 7},
    {"scope": "chat:read,chat:kyc"},
    {"scp": [["chat:kyc"]]},
]


def test_a_token_without_the_required_scopes_is_rejected(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(required_scopes="chat:read chat:kyc")
    enough: list[dict[str, Any]] = [{"scope": "chat:kyc chat:read more"}, {"scp": ["chat:read", "chat:kyc"]}]
    for scopes in enough:
        assert ask(gateway, issuer.token(**scopes)).status_code == 200
    for scopes in TOO_FEW:
        response = ask(gateway, issuer.token(**scopes))
        assert response.status_code == 403
        assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        challenge = 'Bearer realm="gochat-gateway", error="insufficient_scope", scope="chat:kyc chat:read"'
        assert response.headers["www-authenticate"] == challenge


def test_one_key_may_come_from_a_file(start_with_tokens: StartGateway, issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "public.pem"
    file.write_bytes(issuer.keys["first"].as_pem(private=False))
    gateway = start_with_tokens(jwt_jwks_url=None, jwt_public_key_file=file)
    assert ask(gateway, issuer.token()).status_code == 200
    assert ask(gateway, issuer.token(header={"kid": None})).status_code == 200
    assert refusal(ask(gateway, issuer.token(key=ECKey.generate_key("P-256")))) == REFUSED
    assert issuer.fetches == 0


def test_a_batch_is_authenticated_once(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(max_batch=3)
    batch = [{"query": "{ __typename }"}] * 3
    good = gateway.http.post("/graphql", json=batch, headers={"authorization": f"Bearer {issuer.token()}"})
    assert good.json() == [{"data": {"__typename": "Query"}}] * 3
    assert refusal(gateway.http.post("/graphql", json=batch)).keys() == {"message", "code"}


def test_unauthenticated_requests_learn_nothing_about_the_operation(
    start_with_tokens: StartGateway, sandbox: Sandbox
) -> None:
    gateway = start_with_tokens(graphiql=True)
    for body in (b"{", b"[]", b'{"query": "{ nonsense }"}', b'{"query": "{ __schema { types { name } } }"}'):
        response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 401
    assert gateway.http.get("/graphql?query={__typename}").status_code == 401
    assert gateway.http.get("/health").status_code == 200
    page = gateway.http.get("/graphql", headers={"accept": "text/html"})
    assert page.status_code == 200, "the page is public, its queries are not"
    assert sandbox.count() == 0


def test_a_symmetric_key_in_the_jwks_is_never_used(ask_authenticated: Ask, issuer: Issuer) -> None:
    secret = b"k" * 32
    issuer.answer = (
        200,
        json.dumps(
            {
                "keys": [
                    {"kty": "oct", "kid": "shared", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"},
                    {**issuer.keys["first"].as_dict(private=False), "kid": "first"},
                ]
            }
        ).encode(),
    )
    assert refusal(ask_authenticated(forged({"alg": "HS256", "kid": "shared"}, issuer.claims(), secret))) == REFUSED
    assert ask_authenticated(issuer.token()).status_code == 200


def test_a_large_unauthenticated_body_is_rejected_unread(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    """Also one over every limit; the connection stays usable."""
    gateway = start_with_tokens()
    body = b'{"query": "' + b"x" * 20_000_000
    for _ in range(2):
        response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 401
    assert ask(gateway, issuer.token()).status_code == 200


def test_no_token_is_logged_or_returned(
    start_with_tokens: StartGateway, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = start_with_tokens()
    tokens = [issuer.token(), issuer.token(exp=1), issuer.token(aud="other"), "marked-token-that-is-none"]
    returned = "".join(ask(gateway, token).text for token in tokens)
    assert "expired" in caplog.text or any("expired" in str(vars(each)) for each in caplog.records)
    records = "".join(str(vars(each)) for each in caplog.records)
    pieces = [piece for token in tokens for piece in token.split(".")[-1:]]
    assert [piece for piece in pieces if piece in returned + caplog.text + records] == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["alg", "ES256", "first", "RSA", "b64", NAME, AUDIENCE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=6,
)
HEADER = {"alg": "ES256", "kid": "first"}
HEADERS = st.fixed_dictionaries(
    {"alg": st.just("ES256") | JSON, "kid": st.just("first") | JSON},
    optional=dict.fromkeys(("typ", "crit", "b64", "jwk", "jku", "x5c", "cty"), JSON),
)
CLAIMS = st.fixed_dictionaries(
    {"iss": st.just(NAME) | JSON, "aud": st.just(AUDIENCE) | JSON, "exp": st.just(2**40) | JSON},
    optional=dict.fromkeys(("sub", "client_id", "azp", "scope", "scp", "nbf", "iat", "jti"), JSON),
)


@example(header="alg", claims={}, is_signed=True)  # JSON that contains "alg" and is not an object
@example(header=["alg"], claims={}, is_signed=True)
@example(header=HEADER, claims={"iss": NAME, "aud": AUDIENCE, "exp": 10**309 - 1, "sub": "me"}, is_signed=True)
@example(header=HEADER, claims={"iss": NAME, "aud": AUDIENCE, "exp": 1, "nbf": -(10**308)}, is_signed=True)
@example(header=HEADER, claims={"iss": NAME, "aud": AUDIENCE, "exp": 10**400}, is_signed=True)
@given(header=HEADERS | JSON, claims=CLAIMS | JSON, is_signed=st.booleans())
@given_settings(max_examples=max(1, PROPERTY_CASES // 2), deadline=None, suppress_health_check=list(HealthCheck))
def test_any_token_is_accepted_or_rejected_without_another_failure(header: Any, claims: Any, is_signed: bool) -> None:
    """Anyone can write the header, and an issuer may write wrong claims: neither may cause an internal error."""
    signed = ".".join(encoded(part) for part in (header, claims))
    signature = JWSRegistry.algorithms["ES256"].sign(signed.encode(), KEY) if is_signed else b"x"
    token = f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    policy = JwtPolicy(NAME, [AUDIENCE], ["ES256"], 30)
    with contextlib.suppress(CredentialsRefused):
        viewer = asyncio.run(JwtVerifier(StaticKey(KEY), policy, Clock()).verify(token))
        assert is_signed
        assert viewer.caller.partition(":")[0] in {"sub", "client_id", "azp"}
