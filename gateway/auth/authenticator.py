"""Selects the authenticator that the settings ask for, and authenticates callers in service mode."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from prometheus_client.core import Metric

from gateway.auth.api_keys import ApiKeys, load_api_keys
from gateway.auth.challenges import BEARER, REALM, CredentialsRefused, LoginRequired, Reason, ScopeRequired
from gateway.auth.failures import AuthFailures
from gateway.auth.passthrough import PassthroughAuthenticator
from gateway.auth.viewer import Authenticator, Viewer
from gateway.errors import ConfigurationError
from gateway.settings import AuthSettings, CacheSettings, InboundAuth, UpstreamIdentity, UpstreamSettings, words
from gateway.storage.shared import Shared
from gateway.telemetry import Counts
from gateway.telemetry.metrics import Labels, counter

if TYPE_CHECKING:
    from gateway.auth.jwt import JwtVerifier

_API_KEY = f"ApiKey {REALM}"
# One text for every problem: an attacker must not learn how close a guess was, or whether a key id exists.
_REFUSED = "The credentials are not valid."
_REASON = "auth_failures: "


class OpenServiceAuthenticator:
    """Accepts every caller; calls use the gateway's own account (``GATEWAY_INBOUND_AUTH=none``)."""

    _viewer = Viewer(None)

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:  # noqa: ARG002 - the protocol's signature
        """Return the same viewer for every caller."""
        return self._viewer

    async def aclose(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class ServiceAuthenticator:
    """Accepts a bearer token or an API key. If a request has both, the key counts.

    Every caller needs the ``required_scopes``.
    """

    jwt: "JwtVerifier | None"
    api_keys: ApiKeys | None
    failures: AuthFailures
    required_scopes: frozenset[str] = frozenset()

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:
        """Return the viewer; LoginRequired, ScopeRequired, RateLimited, or UpstreamUnavailable without keys."""
        try:
            viewer = await self._viewer(authorization, api_key, address)
        except CredentialsRefused as exc:
            await self.failures.add(address, exc.reason)
            raise LoginRequired(_REFUSED, self._challenge(', error="invalid_token"')) from exc
        if not self.required_scopes <= viewer.scopes:
            raise ScopeRequired(self.required_scopes)
        return viewer

    async def _viewer(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:
        if self.api_keys is not None and api_key:
            return self.api_keys.verify(api_key)
        if self.jwt is not None and authorization:
            scheme, _, token = authorization.strip().partition(" ")
            if scheme.lower() == "bearer":
                token = token.strip()
                viewer = await self.jwt.cached(token)
                if viewer is not None:
                    return viewer
                self.failures.require_unblocked(address)
                return await self.jwt.verify(token)
        raise LoginRequired(self._needs(), self._challenge())

    def _needs(self) -> str:
        ways = []
        if self.jwt is not None:
            ways.append("a bearer token in the header Authorization")
        if self.api_keys is not None:
            ways.append("an API key in the header X-API-Key")
        return f"This call needs {' or '.join(ways)}."

    def _challenge(self, bearer_error: str = "") -> str:
        challenges = []
        if self.jwt is not None:
            challenges.append(BEARER + bearer_error)
        if self.api_keys is not None:
            challenges.append(_API_KEY)
        return ", ".join(challenges)

    async def aclose(self) -> None:
        """Close the JWT verifier and the failure counter."""
        if self.jwt is not None:
            await self.jwt.aclose()
        await self.failures.aclose()


def build_authenticator(
    settings: AuthSettings, upstream: UpstreamSettings, cache: CacheSettings, shared: Shared
) -> Authenticator:
    """Return the authenticator that ``settings`` select; ConfigurationError where they leave service mode open."""
    inbound = None if upstream.identity is UpstreamIdentity.PASSTHROUGH else _inbound_auth(settings)
    if inbound in {None, InboundAuth.NONE}:
        return OpenServiceAuthenticator() if inbound is not None else _passthrough(cache)
    jwt = None if inbound is InboundAuth.API_KEY else _jwt_verifier(settings, upstream, shared)
    api_keys = None if inbound is InboundAuth.JWT else _api_keys(settings, shared.timing.now)
    from gateway.auth.gcra import build_rate  # noqa: PLC0415 - see there: it is slow to import

    rate = build_rate("auth_failure_limit", settings.failure_limit, shared)
    required = frozenset(words(settings.required_scopes))
    return ServiceAuthenticator(jwt, api_keys, AuthFailures(rate, shared.counts, shared.timing.clock), required)


def _jwt_verifier(settings: AuthSettings, upstream: UpstreamSettings, shared: Shared) -> "JwtVerifier":
    from gateway.auth.jwt import build_jwt_verifier  # noqa: PLC0415 - importing cryptography is a tenth of a start

    return build_jwt_verifier(settings, upstream.ca_file, shared)


def _inbound_auth(settings: AuthSettings) -> InboundAuth:
    if settings.inbound is not None:
        return settings.inbound
    problem = (
        "GATEWAY_INBOUND_AUTH is not set: in service mode every caller would read with the gateway's account. "
        "Set it to `jwt`, `api_key` or `jwt,api_key`, or to `none` if something in front of the gateway authenticates "
        "callers; or set GATEWAY_UPSTREAM_IDENTITY to `passthrough`."
    )
    raise ConfigurationError([problem])


def _passthrough(cache: CacheSettings) -> PassthroughAuthenticator:
    secret = cache.secret
    return PassthroughAuthenticator(None if secret is None else secret.get_secret_value().encode())


def _api_keys(settings: AuthSettings, now: Callable[[], float]) -> ApiKeys:
    if settings.api_keys_file is None:
        raise ConfigurationError(["GATEWAY_API_KEYS_FILE must be set when GATEWAY_INBOUND_AUTH has `api_key`."])
    return ApiKeys(load_api_keys(settings.api_keys_file), now)


def auth_metrics(counts: Counts) -> Iterator[Metric]:
    """Yield the metrics of authentication and of rate limits."""
    reasons: dict[Labels, float] = {
        (name.removeprefix(_REASON),): n for name, n in counts.copy().items() if name.startswith(_REASON)
    }
    known = [(reason,) for reason in get_args(Reason)]
    yield counter("auth_failures", "Rejected credentials, by reason.", ("reason",), reasons, known)
    yield counter(
        "auth_failures_limited",
        "Requests from addresses that are blocked after too many wrong credentials.",
        (),
        {(): counts["auth_failures_limited"]},
    )
    yield counter(
        "jwks_fetches",
        "Fetches of the token issuer's JWKS, by result.",
        ("result",),
        {("ok",): counts["jwks_fetched"], ("failed",): counts["jwks_failed"]},
    )
    yield counter("rate_limited", "Requests rejected by a rate limit.", (), {(): counts["rate_limited"]})
    yield counter(
        "rate_store_failures",
        "Times that the Redis of the rate limits did not answer.",
        (),
        {(): counts["redis_failures: rate"]},
    )
