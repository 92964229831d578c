"""Settings without an effect beside others: each is refused with what would be right, and none is silently ignored."""

from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import PREFIX
from gateway.settings.effects import RULES
from tests.harness import FIELDS, SERVICE, settings

PASSTHROUGH = {"upstream_identity": "passthrough"}
NO_ACCOUNT_CHECKS = {**SERVICE, "inbound_auth": "none"}
BY_KEY = {**SERVICE, "inbound_auth": "api_key"}
BY_TOKEN = {**SERVICE, "inbound_auth": "jwt"}
REDIS = {"cache_url": "redis://cache.example/0", "cache_secret": "sixteen or more letters"}
TOKENS = ("jwt_jwks_url", "jwt_public_key_file", "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_leeway")
SCOPES = ("required_scopes", "field_scopes")
TIMES = ("cache_ttl_thread", "cache_ttl_messages", "cache_ttl_customer", "cache_stale_while_revalidate")
# What is chosen, the settings that have no effect with it, and what the message names as the reason.
MODES: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    (
        PASSTHROUGH,
        (
            *("upstream_username", "upstream_password", "upstream_auth", "upstream_login_pause", "inbound_auth"),
            *(*TOKENS, "jwt_jwks_ttl", "api_keys_file", *SCOPES, "auth_failure_limit"),
        ),
        "GATEWAY_UPSTREAM_IDENTITY is `passthrough`",
    ),
    (
        NO_ACCOUNT_CHECKS,
        (*TOKENS, "jwt_jwks_ttl", "api_keys_file", *SCOPES, "auth_failure_limit"),
        "GATEWAY_INBOUND_AUTH is `none`",
    ),
    (BY_KEY, (*TOKENS, "jwt_jwks_ttl"), "GATEWAY_INBOUND_AUTH is `api_key`"),
    (BY_TOKEN, ("api_keys_file",), "GATEWAY_INBOUND_AUTH is `jwt`"),
    ({**BY_TOKEN, "jwt_public_key_file": __file__}, ("jwt_jwks_ttl",), "GATEWAY_JWT_PUBLIC_KEY_FILE is set"),
    (
        {
            "upstream_url": "http://rest.example",
            "upstream_client_cert_file": __file__,
            "upstream_client_key_file": __file__,
        },
        ("upstream_client_cert_file", "upstream_client_key_file"),
        "GATEWAY_UPSTREAM_URL begins with `http://`",
    ),
    (
        {"upstream_url": "http://rest.example"},
        ("upstream_ca_file",),
        "GATEWAY_UPSTREAM_URL begins with `http://`",
    ),
    (
        {},
        (*TIMES, "cache_stale_if_error", "cache_max_bytes", "cache_max_entry", "cache_timeout"),
        "GATEWAY_CACHE_URL is not set",
    ),
    ({"cache_url": "memory://"}, ("cache_timeout",), "GATEWAY_CACHE_URL is `memory://`"),
    (REDIS, ("cache_max_bytes",), "GATEWAY_CACHE_URL is a Redis"),
    (SERVICE, ("cache_secret",), "GATEWAY_CACHE_URL is no Redis"),
    ({**SERVICE, "cache_url": "memory://"}, ("cache_secret",), "GATEWAY_CACHE_URL is no Redis"),
    ({"cost_mode": "off"}, ("max_cost", "cost_list_size"), "GATEWAY_COST_MODE is `off`"),
    (
        {"persisted_queries": False},
        ("persisted_queries_max_bytes", "persisted_queries_ttl"),
        "GATEWAY_PERSISTED_QUERIES is `false`",
    ),
    ({}, ("trusted_documents_mode",), "GATEWAY_TRUSTED_DOCUMENTS is not set"),
    ({}, ("metrics_host",), "GATEWAY_METRICS_PORT is not set"),
    (
        {"subscriptions": False},
        (
            *("subscription_max_lifetime", "max_subscriptions", "max_subscriptions_per_caller"),
            *("max_subscriptions_per_connection", "resync_interval"),
        ),
        "GATEWAY_SUBSCRIPTIONS is `false`",
    ),
    (
        {},
        ("webhook_authorization_previous", "webhook_networks", "webhook_purge_rate"),
        "GATEWAY_WEBHOOK_AUTHORIZATION is not set",
    ),
]
CASES = [(mode, name, reason) for mode, names, reason in MODES for name in names]
# A value that differs from the default, where a number that is one more or a text does not do.
VALUES: dict[str, Any] = {
    "upstream_auth": "basic",
    "inbound_auth": "none",
    "jwt_jwks_url": "https://issuer.example/keys",
    "jwt_algorithms": "ES256",
    "field_scopes": True,
    "auth_failure_limit": "1/minute",
    "trusted_documents_mode": "require",
    "webhook_networks": "192.0.2.0/24",
    "webhook_purge_rate": "1/minute",
    **dict.fromkeys(("jwt_public_key_file", "api_keys_file", "upstream_ca_file"), __file__),
    **dict.fromkeys(("upstream_client_cert_file", "upstream_client_key_file"), __file__),
}


def another_value(name: str) -> Any:
    default = FIELDS[name].default
    return VALUES.get(name, default + 1 if isinstance(default, (int, float)) else "sixteen.or-more-letters")


def problems(**given: Any) -> tuple[str, ...]:
    try:
        settings(**given)
    except ConfigurationError as exc:
        return exc.problems
    return ()


@pytest.mark.parametrize(("mode", "name", "reason"), CASES)
def test_a_setting_without_effect_is_refused_with_the_reason(mode: dict[str, Any], name: str, reason: str) -> None:
    said = problems(**{**mode, name: another_value(name)})
    (line,) = (each for each in said if each.startswith(f"{PREFIX}{name.upper()} has no effect"))
    assert reason in line
    assert "Unset " in line
    assert "sixteen.or-more-letters" not in line


@pytest.mark.parametrize(("mode", "name"), [(mode, name) for mode, name, _ in CASES if name not in mode])
def test_a_setting_with_its_default_value_is_no_mistake(mode: dict[str, Any], name: str) -> None:
    assert not [line for line in problems(**{**mode, name: FIELDS[name].default}) if PREFIX + name.upper() in line]


def test_every_rule_has_its_cases() -> None:
    tried = {(name, reason) for _, name, reason in CASES}
    for rule in RULES:
        for name in rule.names:
            assert any(name == tried_name and reason in rule.because for tried_name, reason in tried), (name, rule)


@pytest.mark.parametrize(
    "given",
    [
        PASSTHROUGH | {"cache_secret": "sixteen or more letters"},
        PASSTHROUGH | REDIS | {"cache_timeout": 1, "cache_ttl_thread": 1},
        BY_TOKEN | {name: another_value(name) for name in (*TOKENS, "required_scopes", "auth_failure_limit")},
        BY_KEY | {"api_keys_file": __file__, "field_scopes": True},
        {**BY_TOKEN, "inbound_auth": "jwt,api_key", "api_keys_file": __file__, "jwt_leeway": 1, "jwt_jwks_ttl": 60},
        {**BY_TOKEN, "upstream_url": "http://rest.example", "upstream_ca_file": __file__}
        | {"jwt_jwks_url": "https://issuer.example/keys"},
        {"cache_url": "memory://", "cache_max_bytes": 2**20},
        {"cost_mode": "measure", "max_cost": 1, "cost_list_size": 1},
        {"trusted_documents": __file__, "trusted_documents_mode": "require"},
        {"metrics_port": 0, "metrics_host": "0.0.0.0"},  # noqa: S104 - nothing is bound
    ],
)
def test_a_setting_with_an_effect_is_accepted(given: dict[str, Any]) -> None:
    assert problems(**given) == ()


def test_several_settings_without_effect_are_named_at_once() -> None:
    said = problems(**PASSTHROUGH, inbound_auth="jwt", jwt_issuer="i", shutdown_timeout=1)
    assert [line.split()[0] for line in said] == [
        "GATEWAY_SHUTDOWN_TIMEOUT",
        "GATEWAY_INBOUND_AUTH",
        "GATEWAY_JWT_ISSUER",
    ]
