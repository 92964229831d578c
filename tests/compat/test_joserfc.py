"""Canaries of gateway/compat/joserfc.py: after an upgrade, each names the borrowed behaviour that is gone."""

import base64
import contextlib
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, extract_compact, validate_compact

from gateway.compat.joserfc import MALFORMED_TOKEN, key_fits

KEY = ECKey.generate_key("P-256")


def compact(header: Any, payload: bytes = b"{}") -> bytes:
    parts = (json.dumps(header).encode(), payload, b"x" * 64)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"a.b.c",
        compact("alg"),
        compact(["alg"]),
        compact(7),
        compact(None),
        compact({}),
        compact({"alg": 7}),
        compact({"alg": "ES256", "b64": 7, "crit": 7}),
        compact({"alg": "ES256"})[:-1],
        b".".join((base64.urlsafe_b64encode(b"[" * 300).rstrip(b"="), b"e30", b"eA")),
    ],
)
def test_a_malformed_token_raises_only_what_is_caught(token: bytes) -> None:
    """If it fails, a malformed token is an internal error in place of a 401."""
    registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    with contextlib.suppress(*MALFORMED_TOKEN):
        assert not validate_compact(extract_compact(token, registry=registry), KEY, registry=registry)


@pytest.mark.parametrize(
    ("key", "fitting"),
    [
        (KEY, {"ES256"}),
        (ECKey.generate_key("P-384"), {"ES384"}),
        (RSAKey.generate_key(2048), {"RS256", "PS256"}),
        (RSAKey.generate_key(2048, {"alg": "PS256"}), {"PS256"}),
        (RSAKey.generate_key(2048, {"use": "enc"}), set()),
        (OKPKey.generate_key("Ed25519"), {"Ed25519"}),
        (OctKey.generate_key(256), set()),
    ],
    ids=["P-256", "P-384", "RSA", "RSA for PS256", "RSA for encryption", "Ed25519", "a secret"],
)
def test_joserfc_tells_which_algorithms_a_key_fits(key: Any, fitting: set[str]) -> None:
    """If it fails, `JWSRegistry.algorithms` or `check_key` changed, and a key may verify what it must not."""
    algorithms = ["RS256", "PS256", "ES256", "ES384", "Ed25519"]
    assert {each for each in algorithms if key_fits(key, each)} == fitting
