"""Which settings have no effect beside which others: one that is set all the same is refused, not ignored.

An operator who sets `GATEWAY_JWT_ISSUER` believes that tokens are checked. A setting with its default value is no
mistake.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.settings.auth import InboundAuth
from gateway.settings.catalogue import Setting, Settings, catalogue
from gateway.settings.graphql import CostMode
from gateway.settings.upstream import UpstreamIdentity

_TOKENS = ("jwt_jwks_url", "jwt_public_key_file", "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_leeway")
_SCOPES = ("required_scopes", "field_scopes")


@dataclass(frozen=True, slots=True)
class Rule:
    """``names`` have no effect while ``holds``; ``because`` says while what, and what would be right."""

    holds: Callable[[Settings], bool]
    because: str
    names: Sequence[str]


RULES: Sequence[Rule] = (
    Rule(
        lambda given: given.upstream.identity is UpstreamIdentity.PASSTHROUGH,
        "while GATEWAY_UPSTREAM_IDENTITY is `passthrough`: callers send their own credentials to the REST API, which "
        "alone checks them. Unset it, or set GATEWAY_UPSTREAM_IDENTITY to `service`.",
        (
            *("upstream_username", "upstream_password", "upstream_auth", "upstream_login_pause", "inbound_auth"),
            *(*_TOKENS, "jwt_jwks_ttl", "api_keys_file", *_SCOPES, "auth_failure_limit"),
        ),
    ),
    Rule(
        lambda given: given.auth.inbound is InboundAuth.NONE,
        "while GATEWAY_INBOUND_AUTH is `none`: every caller is accepted, and has no scopes. Unset it, or set "
        "GATEWAY_INBOUND_AUTH to `jwt`, `api_key` or `jwt,api_key`.",
        (*_TOKENS, "jwt_jwks_ttl", "api_keys_file", *_SCOPES, "auth_failure_limit"),
    ),
    Rule(
        lambda given: given.auth.inbound is InboundAuth.API_KEY,
        "while GATEWAY_INBOUND_AUTH is `api_key`. Unset it, or set GATEWAY_INBOUND_AUTH to `jwt` or `jwt,api_key`.",
        (*_TOKENS, "jwt_jwks_ttl"),
    ),
    Rule(
        lambda given: given.auth.inbound is InboundAuth.JWT,
        "while GATEWAY_INBOUND_AUTH is `jwt`. Unset it, or set GATEWAY_INBOUND_AUTH to `api_key` or `jwt,api_key`.",
        ("api_keys_file",),
    ),
    Rule(
        lambda given: given.auth.jwt_public_key_file is not None,
        "while GATEWAY_JWT_PUBLIC_KEY_FILE is set: its key is never fetched again. Unset one of them.",
        ("jwt_jwks_ttl",),
    ),
    Rule(
        lambda given: given.upstream.url.scheme == "http",
        "while GATEWAY_UPSTREAM_URL begins with `http://`. Unset it, or use `https://`.",
        ("upstream_client_cert_file", "upstream_client_key_file"),
    ),
    Rule(
        lambda given: given.upstream.url.scheme == "http" and not _fetches_keys_by_tls(given),
        "while GATEWAY_UPSTREAM_URL begins with `http://`. Unset it, or use `https://`.",
        ("upstream_ca_file",),
    ),
    Rule(
        lambda given: given.cache.url is None,
        "while GATEWAY_CACHE_URL is not set. Unset it, or set GATEWAY_CACHE_URL, such as to `memory://`.",
        (
            *("cache_ttl_thread", "cache_ttl_messages", "cache_ttl_customer", "cache_stale_while_revalidate"),
            *("cache_stale_if_error", "cache_max_bytes", "cache_max_entry", "cache_timeout"),
        ),
    ),
    Rule(
        lambda given: given.cache.url is not None and given.cache.redis_url is None,
        "while GATEWAY_CACHE_URL is `memory://`. Unset it, or set GATEWAY_CACHE_URL to a Redis.",
        ("cache_timeout",),
    ),
    Rule(
        lambda given: given.cache.redis_url is not None,
        "while GATEWAY_CACHE_URL is a Redis, which has its own `maxmemory`. Unset it.",
        ("cache_max_bytes",),
    ),
    Rule(
        lambda given: given.upstream.identity is UpstreamIdentity.SERVICE and given.cache.redis_url is None,
        "in service mode while GATEWAY_CACHE_URL is no Redis. Unset it, or set GATEWAY_CACHE_URL to a Redis.",
        ("cache_secret",),
    ),
    Rule(
        lambda given: given.limits.cost_mode is CostMode.OFF,
        "while GATEWAY_COST_MODE is `off`. Unset it, or set GATEWAY_COST_MODE to `measure` or `enforce`.",
        ("max_cost", "cost_list_size"),
    ),
    Rule(
        lambda given: not given.graphql.persisted_queries,
        "while GATEWAY_PERSISTED_QUERIES is `false`. Unset one of them.",
        ("persisted_queries_max_bytes", "persisted_queries_ttl"),
    ),
    Rule(
        lambda given: given.graphql.trusted_documents is None,
        "while GATEWAY_TRUSTED_DOCUMENTS is not set: every document is executed. Unset it, or set "
        "GATEWAY_TRUSTED_DOCUMENTS to a manifest or a folder.",
        ("trusted_documents_mode",),
    ),
    Rule(
        lambda given: not given.live.subscriptions,
        "while GATEWAY_SUBSCRIPTIONS is `false`. Unset one of them.",
        (
            *("subscription_max_lifetime", "max_subscriptions", "max_subscriptions_per_caller"),
            *("max_subscriptions_per_connection", "resync_interval"),
        ),
    ),
    Rule(
        lambda given: given.live.webhook_authorization is None,
        "while GATEWAY_WEBHOOK_AUTHORIZATION is not set: there is no webhook. Unset it, or set "
        "GATEWAY_WEBHOOK_AUTHORIZATION.",
        ("webhook_authorization_previous", "webhook_networks", "webhook_purge_rate"),
    ),
    Rule(
        lambda given: given.telemetry.metrics_port is None,
        "while GATEWAY_METRICS_PORT is not set. Unset it, or set GATEWAY_METRICS_PORT.",
        ("metrics_host",),
    ),
)


def _fetches_keys_by_tls(given: Settings) -> bool:
    return given.auth.jwt_jwks_url is not None and given.auth.jwt_jwks_url.scheme == "https"


def without_effect(given: Settings) -> Iterator[str]:
    """Give a line for each setting that differs from its default and has no effect, with what would be right."""
    known = catalogue()
    for name, because in _first_reasons(given):
        setting = known[name]
        if _value(given, setting) != setting.field.default:
            yield f"{setting.variable} has no effect {because}"


def _first_reasons(given: Settings) -> Iterator[tuple[str, str]]:
    reasons: dict[str, str] = {}
    for rule in RULES:
        if rule.holds(given):
            reasons = {**dict.fromkeys(rule.names, rule.because), **reasons}
    yield from reasons.items()


def _value(given: Settings, setting: Setting) -> Any:
    return getattr(getattr(given, setting.group), setting.attribute)
