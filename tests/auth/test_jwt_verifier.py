"""What the verifier reads in a token: its algorithm, its caller's name, and why it is refused."""

import base64
import hashlib
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.auth.challenges import CredentialsRefused
from gateway.auth.jwks import StaticKey
from gateway.auth.jwt import ALGORITHMS, JwtPolicy, JwtVerifier
from tests.auth.issuer import AUDIENCE, NAME, encoded, forged

NOW = 1_800_000_000
EC = ECKey.generate_key("P-256")


def verifier(algorithm: str = "ES256", key: Key = EC) -> JwtVerifier:
    return JwtVerifier(StaticKey(key), JwtPolicy(NAME, [AUDIENCE], [algorithm], 30), lambda: float(NOW))


def token(algorithm: str = "ES256", key: Any = EC, **changes: Any) -> str:
    claims = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "iat": NOW, "exp": NOW + 60, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    registry = JWSRegistry(algorithms=[algorithm])
    return jwt.encode({"alg": algorithm}, present, key, registry=registry)


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    """A key for each algorithm, by the beginning of its name."""
    rsa = RSAKey.generate_key(2048)
    curves = {f"ES{bits}": ECKey.generate_key(f"P-{521 if bits == 512 else bits}") for bits in (256, 384, 512)}
    return {"RS": rsa, "PS": rsa, **curves, "Ed": OKPKey.generate_key("Ed25519")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_each_algorithm_that_can_be_pinned_verifies(keys: dict[str, Key], algorithm: str) -> None:
    key = keys[algorithm if algorithm.startswith("ES") else algorithm[:2]]
    assert (await verifier(algorithm, key).verify(token(algorithm, key))).caller == "sub:alice"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "claim missing"),
        ({"iss": None}, "claim missing"),
        ({"aud": None}, "claim missing"),
        ({"exp": "soon"}, "claim exp"),
        ({"aud": "somebody else"}, "claim aud"),
        ({"iss": "somebody else"}, "claim iss"),
        ({"iat": NOW + 60}, "claim iat"),
        ({"nbf": "soon"}, "claim nbf"),
        ({"sub": None}, "claim sub"),
    ],
)
async def test_the_operator_learns_which_claim_is_wrong(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        await verifier().verify(token(**changes))
    assert caught.value.reason == reason


def signed(payload: str) -> str:
    """Return a token with any payload and a valid signature."""
    content = f"{encoded({'alg': 'ES256'})}.{base64.urlsafe_b64encode(payload.encode()).decode().rstrip('=')}"
    signature = JWSRegistry.algorithms["ES256"].sign(content.encode(), EC)
    return f"{content}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (token(padding="x" * 10_000), "too long"),
        ("a.b.c", "no token"),
        (f"{encoded(['alg'])}.e30.", "no token"),
        (forged({"alg": "none"}, {}), "algorithm"),
        (forged({"alg": "ES256", "crit": ["b64"]}, {}), "header"),
        (forged({"alg": "ES256", "typ": "logout+jwt"}, {}), "type"),
        (forged({"alg": "RS256"}, {}), "unknown key"),
        (token(key=ECKey.generate_key("P-256")), "signature"),
        (signed("no JSON"), "signature"),
        (signed("[]"), "signature"),
    ],
)
async def test_the_operator_learns_what_is_wrong_with_a_token(refused: str, reason: str) -> None:
    policy = JwtPolicy(NAME, [AUDIENCE], ALGORITHMS, 30)
    with pytest.raises(CredentialsRefused) as caught:
        await JwtVerifier(StaticKey(EC), policy, lambda: float(NOW)).verify(refused)
    assert caught.value.reason == reason


@pytest.mark.parametrize("claim", ["client_id", "azp"])
async def test_a_client_with_a_token_of_its_own_is_the_caller(claim: str) -> None:
    assert (await verifier().verify(token(sub=None, **{claim: "billing"}))).caller == f"{claim}:billing"


LONGEST = "n" * 200


@pytest.mark.parametrize("name", ["alice", "Zoë 🪁", LONGEST])
async def test_a_short_name_is_shown_as_it_is(name: str) -> None:
    assert (await verifier().verify(token(sub=name))).caller == f"sub:{name}"


@pytest.mark.parametrize("name", [f"{LONGEST}n", "a\nlevel=ERROR", "a\x1b[31m", "a\u2028b"])
async def test_a_name_that_would_harm_the_log_is_replaced_by_its_hash(name: str) -> None:
    """It names the caller in every log line, and in the keys of rate limits."""
    assert (await verifier().verify(token(sub=name))).caller == f"sub:{hashlib.sha256(name.encode()).hexdigest()[:32]}"
