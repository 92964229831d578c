"""The door of service mode: a bearer token or an API key, and the scopes that everyone needs."""

from dataclasses import dataclass

from gateway.auth.api_keys import ApiKeys
from gateway.auth.challenges import BEARER, REALM, CredentialsRefused, LoginRequired, ScopeRequired
from gateway.auth.failures import AuthFailures
from gateway.auth.jwt import Tokens
from gateway.auth.viewer import Viewer

_API_KEY = f"ApiKey {REALM}"
# The same for whatever is wrong: who guesses learns neither how near it was nor whether a key of that id exists.
_REFUSED = "The credentials are not valid."


@dataclass(frozen=True, slots=True)
class GuardedDoor:
    """Lets in who shows a token or a key. Of both, where both are taken, the key counts."""

    tokens: Tokens | None
    api_keys: ApiKeys | None
    failures: AuthFailures
    required_scopes: frozenset[str] = frozenset()

    async def authenticate(self, authorization: str | None, api_key: str | None, address: str | None) -> Viewer:
        """Return the viewer; LoginRequired, ScopeRequired, RateLimited, or UpstreamUnavailable for want of keys."""
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
        if self.tokens is not None and authorization:
            scheme, _, token = authorization.strip().partition(" ")
            if scheme.lower() == "bearer":
                token = token.strip()
                known = await self.tokens.known(token)
                if known is not None:
                    return known
                self.failures.require_none(address)
                return await self.tokens.verify(token)
        raise LoginRequired(self._wanted(), self._challenge())

    def _wanted(self) -> str:
        ways = []
        if self.tokens is not None:
            ways.append("a bearer token in the header Authorization")
        if self.api_keys is not None:
            ways.append("an API key in the header X-API-Key")
        return f"This call needs {' or '.join(ways)}."

    def _challenge(self, of_bearer: str = "") -> str:
        challenges = []
        if self.tokens is not None:
            challenges.append(BEARER + of_bearer)
        if self.api_keys is not None:
            challenges.append(_API_KEY)
        return ", ".join(challenges)

    async def aclose(self) -> None:
        """Let go of what the door's parts hold."""
        if self.tokens is not None:
            await self.tokens.aclose()
        await self.failures.aclose()
