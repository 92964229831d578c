"""Chooses the door that the settings ask for, and checks that what it needs is there."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from gateway.auth.api_keys import ApiKeys, load_api_keys
from gateway.auth.failures import AuthFailures
from gateway.auth.jwks import Keys, PublicKey, PublishedKeys, fetcher
from gateway.auth.jwt import ALGORITHMS, TokenPolicy, Tokens
from gateway.auth.keys import key_from_file
from gateway.auth.passthrough import Passthrough
from gateway.auth.service import GuardedDoor
from gateway.auth.viewer import Authenticator, Viewer
from gateway.errors import ConfigurationError
from gateway.settings import InboundAuth, Settings, UpstreamIdentity, words
from gateway.telemetry import Counts

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class ServiceForEveryone:
    """Every caller is served with the gateway's own account (``GATEWAY_INBOUND_AUTH=none``)."""

    _viewer = Viewer(None)

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return the one viewer there is."""
        return self._viewer

    async def aclose(self) -> None:
        """Do nothing."""


def build_authenticator(
    settings: Settings,
    counts: Counts | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> Authenticator:
    """Return the door that ``settings`` ask for; ConfigurationError where they leave it open unsaid.

    ``clock`` is monotonic, ``now`` the wall clock, both in seconds.
    """
    counts = Counts() if counts is None else counts
    way = None if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH else _way(settings)
    if way in {None, InboundAuth.NONE}:
        _require_no_scopes(settings)
        return ServiceForEveryone() if way is not None else _passthrough(settings)
    tokens = None if way is InboundAuth.API_KEY else _tokens(settings, counts, clock, now)
    api_keys = None if way is InboundAuth.JWT else _api_keys(settings, now)
    from gateway.auth.gcra import build_rate  # noqa: PLC0415 - see there: it is slow to import

    rate = build_rate("auth_failure_limit", settings.auth_failure_limit, settings, counts, clock)
    required = frozenset(words(settings.required_scopes))
    return GuardedDoor(tokens, api_keys, AuthFailures(rate, counts, clock), required)


def _way(settings: Settings) -> InboundAuth:
    if settings.inbound_auth is not None:
        return settings.inbound_auth
    problem = (
        "GATEWAY_INBOUND_AUTH is not set: in service mode every caller would read with the gateway's account. "
        "Set it to `jwt`, `api_key` or `jwt,api_key`, or to `none` if something in front of the gateway lets the right "
        "callers in; or set GATEWAY_UPSTREAM_IDENTITY to `passthrough`."
    )
    raise ConfigurationError([problem])


def _require_no_scopes(settings: Settings) -> None:
    names = {"GATEWAY_REQUIRED_SCOPES": settings.required_scopes, "GATEWAY_FIELD_SCOPES": settings.field_scopes}
    problems = [
        f"{name} is set, but callers have scopes only in service mode with GATEWAY_INBOUND_AUTH `jwt` or `api_key`. "
        "Unset it, or let callers authenticate so."
        for name, value in names.items()
        if value
    ]
    if problems:
        raise ConfigurationError(problems)


def _passthrough(settings: Settings) -> Passthrough:
    secret = settings.cache_secret
    return Passthrough(None if secret is None else secret.get_secret_value().encode())


def _api_keys(settings: Settings, now: Callable[[], float]) -> ApiKeys:
    if settings.api_keys_file is None:
        raise ConfigurationError(["GATEWAY_API_KEYS_FILE must be set when GATEWAY_INBOUND_AUTH has `api_key`."])
    return ApiKeys(load_api_keys(settings.api_keys_file), now)


def _tokens(settings: Settings, counts: Counts, clock: Callable[[], float], now: Callable[[], float]) -> Tokens:
    issuer, audiences = settings.jwt_issuer, words(settings.jwt_audience)
    missing = [
        f"{name} must be set when GATEWAY_INBOUND_AUTH has `jwt`."
        for name, value in (("GATEWAY_JWT_ISSUER", issuer), ("GATEWAY_JWT_AUDIENCE", audiences))
        if not value
    ]
    if (settings.jwt_jwks_url is None) == (settings.jwt_public_key_file is None):
        missing.append(
            "GATEWAY_JWT_JWKS_URL or GATEWAY_JWT_PUBLIC_KEY_FILE must be set when GATEWAY_INBOUND_AUTH has `jwt`: "
            "one of them."
        )
    if missing or issuer is None:
        raise ConfigurationError(missing)
    policy = TokenPolicy(issuer, audiences, _algorithms(settings), settings.jwt_leeway)
    return Tokens(_keys(settings, counts, clock), policy, now)


def _algorithms(settings: Settings) -> list[str]:
    algorithms = words(settings.jwt_algorithms)
    if not algorithms or not set(algorithms) <= set(ALGORITHMS):
        problem = f"GATEWAY_JWT_ALGORITHMS: must be one or more of {', '.join(ALGORITHMS)}."
        raise ConfigurationError([problem])
    return algorithms


def _keys(settings: Settings, counts: Counts, clock: Callable[[], float]) -> Keys:
    if settings.jwt_public_key_file is not None:
        return PublicKey(key_from_file(settings.jwt_public_key_file))
    url = urlsplit(str(settings.jwt_jwks_url))
    if url.scheme != "https" and (url.hostname or "") not in _LOOPBACK:
        problem = (
            "GATEWAY_JWT_JWKS_URL: must begin with `https://`, but for an address of this machine: whoever can change "
            "the answer on its way can make tokens."
        )
        raise ConfigurationError([problem])
    return PublishedKeys(fetcher(url.geturl(), settings.upstream_ca_file), settings.jwt_jwks_ttl, counts, clock)
