"""Verifies bearer tokens: JWTs of one issuer (RFC 7519, with what RFC 8725 asks of those who take them).

Every token is refused that is not signed by a key of the issuer's with one of the algorithms that the operator pinned:
what a token says of itself chooses among those and the issuer's keys, and nothing else. The library is joserfc: it ties
each algorithm to its type of key, takes the clock from outside, and bounds what it decodes. (PyJWT is as fast, 60
us for RS256, but asks the clock itself.)
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cachetools import TLRUCache
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jws import JWSRegistry, extract_compact, validate_compact
from joserfc.jwt import JWTClaimsRegistry

from gateway.auth.challenges import CredentialsRefused
from gateway.auth.jwks import Keys
from gateway.auth.viewer import Viewer

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""What can be pinned. All are asymmetric: with HMAC, whoever can verify a token can make one."""

# The last two come from a header that is JSON and no object, which joserfc reads as one.
_NO_TOKEN = (JoseError, ValueError, RecursionError, TypeError, AttributeError)
_MOST_BYTES = 8 * 1024
_MOST_KNOWN = 10_000
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a token must be. Of ``audiences`` it must have one; ``leeway`` is in seconds."""

    issuer: str
    audiences: Sequence[str]
    algorithms: Sequence[str]
    leeway: int


class Tokens:
    """Verifies tokens, and knows those that it has verified until they expire or the keys are replaced.

    A look-up costs 3 us, and to verify a signature 60 to 140 us. ``now`` is the wall clock, in seconds.
    """

    def __init__(self, keys: Keys, policy: TokenPolicy, now: Callable[[], float]) -> None:
        self._keys = keys
        self._policy = policy
        self._generation = keys.generation
        # Other header parameters than the registered ones are of no meaning (RFC 7515, section 4): issuers add some.
        self._registry = JWSRegistry(algorithms=list(policy.algorithms), strict_check_header=False)
        self._claims = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=policy.leeway,
            iss={"essential": True, "value": policy.issuer},
            aud={"essential": True, "values": list(policy.audiences)},
            exp={"essential": True},
        )
        # By hash: a dump of the memory should hold no more tokens than it must.
        self._known: TLRUCache[bytes, tuple[Viewer, float]] = TLRUCache(
            _MOST_KNOWN, ttu=lambda _digest, entry, _now: entry[1], timer=now
        )

    async def known(self, token: str) -> Viewer | None:
        """Return the viewer of a token that was verified before, None for any other."""
        await self._keys.refresh_if_due()
        self._forget_what_is_withdrawn()
        entry = self._known.get(_digest(token))
        return None if entry is None else entry[0]

    def _forget_what_is_withdrawn(self) -> None:
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._known.clear()

    async def verify(self, token: str) -> Viewer:
        """Return the viewer; CredentialsRefused, or UpstreamUnavailable where there is no key to verify with."""
        claims = await self._claims_of(token)
        try:
            self._claims.validate(claims)
        except ExpiredTokenError as exc:
            raise CredentialsRefused("expired") from exc
        except MissingClaimError as exc:
            raise CredentialsRefused("claim missing") from exc
        except InvalidClaimError as exc:
            raise CredentialsRefused(f"claim {exc.claim}") from exc
        viewer = Viewer(None, _caller(claims), _scopes(claims))
        self._forget_what_is_withdrawn()
        self._known[_digest(token)] = viewer, claims["exp"]
        return viewer

    async def _claims_of(self, token: str) -> dict[str, Any]:
        """Return what a token says, once it is known who says so."""
        if len(token) > _MOST_BYTES:
            raise CredentialsRefused("too long")
        try:
            signed = extract_compact(token.encode(), registry=self._registry)
        except _NO_TOKEN as exc:
            raise CredentialsRefused("no token") from exc
        header: Any = signed.headers()
        if not isinstance(header, dict):
            raise CredentialsRefused("no token")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._policy.algorithms:
            raise CredentialsRefused("algorithm")
        if "crit" in header or not isinstance(kid, (str, type(None))):
            raise CredentialsRefused("header")
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise CredentialsRefused("unknown key")
        try:
            genuine = validate_compact(signed, key, registry=self._registry)
            claims = msgspec.json.decode(signed.payload) if genuine else None
        except _NO_TOKEN as exc:
            raise CredentialsRefused("signature") from exc
        if not isinstance(claims, dict):
            raise CredentialsRefused("signature")
        return claims

    async def aclose(self) -> None:
        """Let go of the keys."""
        await self._keys.aclose()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _caller(claims: dict[str, Any]) -> str:
    """Return the name of whom a token is for: a user, or a program where it is a program's own."""
    for claim in ("sub", "client_id", "azp"):
        name = claims.get(claim)
        if isinstance(name, str) and name:
            if len(name) > _LONGEST_NAME or not name.isprintable():
                name = hashlib.sha256(name.encode()).hexdigest()[:32]
            return f"{claim}:{name}"
    raise CredentialsRefused("claim sub")


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """Return the scopes: a text with spaces (RFC 9068), or a list; ``scp`` is what some issuers call them."""
    scopes: set[str] = set()
    for claim in ("scope", "scp"):
        value = claims.get(claim)
        if isinstance(value, str):
            scopes.update(value.split())
        elif isinstance(value, list):
            scopes.update(each for each in value if isinstance(each, str))
    return frozenset(scopes)
