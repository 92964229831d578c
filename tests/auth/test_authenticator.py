"""Every setting of authentication is checked at startup, and the error names an invalid one."""

import re
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.app import create_app
from gateway.auth.jwt import ALGORITHMS
from gateway.errors import ConfigurationError
from gateway.server.serve import serve
from tests.auth.issuer import Issuer
from tests.harness import SERVICE, Clock, build_authenticator, settings

TOKENS = {
    **SERVICE,
    "inbound_auth": "jwt",
    "jwt_issuer": "https://issuer.example",
    "jwt_audience": "gochat-gateway",
    "jwt_jwks_url": "https://issuer.example/keys",
}


def problems(**overrides: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        build_authenticator(settings(**{**TOKENS, **overrides}))
    return "\n".join(caught.value.problems)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inbound_auth": None}, "GATEWAY_INBOUND_AUTH is not set"),
    ({"jwt_issuer": None}, "GATEWAY_JWT_ISSUER must be set"),
    ({"jwt_audience": None}, "GATEWAY_JWT_AUDIENCE must be set"),
    ({"jwt_audience": " , "}, "GATEWAY_JWT_AUDIENCE must be set"),
    ({"jwt_jwks_url": None}, "GATEWAY_JWT_JWKS_URL or GATEWAY_JWT_PUBLIC_KEY_FILE must be set"),
    ({"jwt_public_key_file": Path(__file__)}, "one of them"),
    ({"jwt_jwks_url": "http://issuer.example/keys"}, "GATEWAY_JWT_JWKS_URL: must begin with `https://`"),
    ({"jwt_algorithms": "HS256"}, "GATEWAY_JWT_ALGORITHMS: must be one or more of"),
    ({"jwt_algorithms": "ES256 none"}, "GATEWAY_JWT_ALGORITHMS: must be one or more of"),
    ({"jwt_algorithms": " "}, "GATEWAY_JWT_ALGORITHMS: must be one or more of"),
    ({"auth_failure_limit": "often"}, "GATEWAY_AUTH_FAILURE_LIMIT: must be"),
    ({"inbound_auth": "jwt,api_key"}, "GATEWAY_API_KEYS_FILE must be set"),
]


@pytest.mark.parametrize(("overrides", "said"), WRONG)
def test_an_invalid_setting_is_named(overrides: dict[str, Any], said: str) -> None:
    assert said in problems(**overrides)


@pytest.mark.parametrize("url", ["https://issuer.example/keys", "http://127.0.0.1/keys", "http://[::1]:8080/keys"])
def test_keys_come_over_tls_or_from_this_machine(url: str) -> None:
    build_authenticator(settings(**{**TOKENS, "jwt_jwks_url": url}))


@pytest.mark.parametrize("algorithms", [ALGORITHMS, ALGORITHMS[:1]], ids=["all", "one"])
def test_any_of_the_algorithms_may_be_pinned(algorithms: tuple[str, ...]) -> None:
    build_authenticator(settings(**{**TOKENS, "jwt_algorithms": " ".join(algorithms)}))


def test_service_mode_needs_a_setting_for_inbound_authentication() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_INBOUND_AUTH is not set"):
        serve(settings(**{**SERVICE, "inbound_auth": None}), {})


def test_a_public_key_file_must_hold_a_public_key(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024)
    for content, said in (
        (key.as_pem(private=True), "holds a private key"),
        (short.as_pem(private=False), "holds no public key in PEM (RSA of 2048 bits or more"),
        (b"-----BEGIN PUBLIC KEY-----", "holds no public key"),
        (b"", "holds no public key"),
        (None, "cannot be read"),
    ):
        file = tmp_path / "key.pem"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        assert f"GATEWAY_JWT_PUBLIC_KEY_FILE: {file} {said}" in problems(jwt_jwks_url=None, jwt_public_key_file=file)


async def test_a_subject_that_is_no_short_printable_text_has_a_short_name(issuer: Issuer, clock: Clock) -> None:
    """It is in log lines and in the keys of limits. Two subjects never have one name."""
    chosen = settings(**{**TOKENS, "jwt_jwks_url": issuer.url})
    authenticator = build_authenticator(chosen, clock.timing)
    names = {}
    for subject in ("x" * 200, "x" * 201, "x" * 202, "a\nb", "a\tb", "alice"):
        viewer = await authenticator.authenticate(f"Bearer {issuer.token(sub=subject)}", None, None)
        names[subject] = viewer.caller
    await authenticator.aclose()
    assert len(set(names.values())) == len(names)
    assert all(name.isprintable() and len(name) <= 204 for name in names.values())
    assert (names["alice"], names["x" * 200]) == ("sub:alice", "sub:" + "x" * 200)


@pytest.mark.parametrize("way", ["jwt", "api_key", "jwt,api_key", "api_key,jwt", " JWT , API_KEY ", "none"])
def test_the_methods_of_authentication_may_be_in_any_order(way: str) -> None:
    assert settings(**{**SERVICE, "inbound_auth": way}).auth.inbound in {"jwt", "api_key", "jwt,api_key", "none"}


@pytest.mark.parametrize("way", ["jwt,none", "jwt,jwt", "basic", ","])
def test_other_methods_of_authentication_are_rejected(way: str) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_INBOUND_AUTH"):
        settings(inbound_auth=way)


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.0/33", "10.0.0.1/8"])
def test_a_proxy_is_trusted_by_its_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"_TRUSTED_PROXIES: {re.escape(text)} is neither an address nor a"):
        create_app(settings(**{**SERVICE, "trusted_proxies": text}))


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.0.0.5, 0.0.0.0/0", "::ffff:0:0/96", "::/64"])
def test_a_network_of_all_addresses_cannot_be_trusted(text: str) -> None:
    """Also not all IPv4 addresses in the form that they have on a dual-stack socket."""
    with pytest.raises(ConfigurationError, match=r"GATEWAY_TRUSTED_PROXIES: .*/\d+ is everyone"):
        create_app(settings(**{**SERVICE, "trusted_proxies": text}))


@pytest.mark.parametrize("text", ["2001:db8::1", "fd00::/8", "::1, 10.0.0.0/8"])
def test_an_ipv6_network_may_be_trusted(text: str) -> None:
    create_app(settings(**{**SERVICE, "trusted_proxies": text}))


def test_a_rate_limit_is_checked_at_startup() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_RATE_LIMIT: must be a number per second"):
        create_app(settings(**{**SERVICE, "rate_limit": "many"}))
