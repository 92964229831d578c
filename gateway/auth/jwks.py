"""The public keys that verify tokens: one key from a PEM file, or the issuer's JWKS (RFC 7517).

    fresh ──ttl──▶ due: refreshed in the background while the old keys still verify
       │             └──ttl──▶ overdue: a request waits for the refresh
       │
       └── a token names an unknown key: refreshed at once, at most once per `_MIN_INTERVAL`

Keys not refreshed within two TTLs verify nothing before the next refresh ends: they may have been withdrawn. At most
one fetch runs at a time. A failed fetch changes nothing: the last good keys stay in use while the issuer is down, and
the next refresh is due `_MIN_INTERVAL` later, so that requests do not wait for an issuer that hangs. Tokens with
invented key ids therefore cost the issuer one request per interval, and a new key may stay unknown for that long.

Why not a library: PyJWT's PyJWKClient (2.15) blocks the event loop for the whole fetch (measured: 310 ms for a response
that takes 300 ms), and rejects every token once its `lifespan` is over and the issuer is down. joserfc has no client.
"""

import asyncio
import ssl
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key

from gateway.compat.joserfc import key_fits
from gateway.errors import ConfigurationError, UpstreamUnavailable
from gateway.http1 import Pool, PoolSettings, PoolTransport
from gateway.telemetry import Counts, logger

FETCH_FAILURES = (httpx.HTTPError, OSError, TimeoutError, ValueError)
"""What fetching and parsing a JWKS may raise."""

_MIN_INTERVAL = 10.0
_FETCH_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_HEADERS = {"accept": "application/jwk-set+json, application/json"}


class KeySource(Protocol):
    """Finds the key that a token names."""

    generation: int
    """Changes when the keys change: tokens verified with the old keys must be verified again."""

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key, None where there is none; UpstreamUnavailable where no fetch has succeeded yet."""

    async def refresh_if_due(self) -> None:
        """Start a refresh if one is due; wait for it only if it is overdue."""

    async def aclose(self) -> None:
        """Cancel a running fetch."""


class StaticKey:
    """One key from a PEM file. The key id of a token is ignored."""

    generation = 0

    def __init__(self, key: Key) -> None:
        self._key = key

    async def find(self, kid: str | None, algorithm: str) -> Key | None:  # noqa: ARG002 - the protocol's signature
        """Return the key if it fits the algorithm."""
        return self._key if key_fits(self._key, algorithm) else None

    async def refresh_if_due(self) -> None:
        """Do nothing: a new key needs a restart."""

    async def aclose(self) -> None:
        """Do nothing."""


class RemoteJwks:
    """The issuer's JWKS; see the top of this file. ``clock`` is monotonic, in seconds."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]], ttl: float, counts: Counts, clock: Callable[[], float]
    ) -> None:
        self._fetch = fetch
        self._ttl = ttl
        self._counts = counts
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._members: list[Any] = []
        self._due = clock()
        self._not_before = clock()
        self._task: asyncio.Task[None] | None = None
        self.generation = 0

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key. A token without a key id is accepted only if exactly one key fits its algorithm."""
        key = self._look_up(kid, algorithm)
        if key is None and (self._task is not None or self._clock() >= self._not_before):
            # Shielded: one cancelled request must not cancel the fetch for the others.
            await asyncio.shield(self._refresh())
            key = self._look_up(kid, algorithm)
        if key is None and not self._keys:
            seconds = max(1.0, self._not_before - self._clock())
            raise UpstreamUnavailable("The token issuer's keys cannot be had.", retry_after=float(ceil(seconds)))
        return key

    async def refresh_if_due(self) -> None:
        """Start a refresh after one TTL; wait for it after two."""
        late = self._clock() - self._due
        if late >= 0 and self._keys:
            refreshed = self._refresh()
            if late >= self._ttl:
                await asyncio.shield(refreshed)

    def _look_up(self, kid: str | None, algorithm: str) -> Key | None:
        fitting = [key for key in self._keys if key_fits(key, algorithm)]
        if kid is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.kid == kid), None)

    def _refresh(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = asyncio.create_task(self._fetch_now(), name="jwks")
            self._task.add_done_callback(self._fetch_ended)
        return self._task

    def _fetch_ended(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        self._not_before = self._clock() + _MIN_INTERVAL
        self._due = max(self._due, self._not_before)

    async def _fetch_now(self) -> None:
        try:
            members = jwks_members(await self._fetch())
            keys = usable_keys(members)
        except FETCH_FAILURES as exc:
            self._counts["jwks_failed"] += 1
            logger.warning(
                "the token issuer's keys cannot be fetched (%s); the known keys stay in use", failure_reason(exc)
            )
            return
        self._counts["jwks_fetched"] += 1
        self._due = self._clock() + self._ttl
        if members != self._members:
            self._keys, self._members = keys, members
            self.generation += 1

    async def aclose(self) -> None:
        """Cancel a running fetch."""
        if self._task is not None:
            self._task.cancel()


def failure_reason(failure: Exception) -> str:
    """Return why a fetch failed: our own text, or only the name of a foreign error, whose text holds addresses."""
    return str(failure) if type(failure) is ValueError else type(failure).__name__


def jwks_fetcher(url: str, ca_file: Path | None) -> Callable[[], Awaitable[bytes]]:
    """Return a function that fetches ``url``; ValueError for an error status, or an httpx.HTTPError.

    It keeps no connection, because minutes pass between calls. It follows no redirect, because a redirect could lead to
    an attacker's keys.
    """
    tls: ssl.SSLContext | None = None  # plain HTTP is allowed on this machine only: see `gateway.auth.authenticator`
    if url.startswith("https:"):
        tls = ssl.create_default_context()
        if ca_file is not None:
            tls.load_verify_locations(ca_file)

    def new_pool(origin: str) -> Pool:
        return Pool(origin, PoolSettings(max_connections=1, max_body=_MAX_BYTES), tls=tls)

    async def fetch() -> bytes:
        async with (
            asyncio.timeout(_FETCH_TIMEOUT_SECONDS),
            httpx.AsyncClient(transport=PoolTransport(new_pool), timeout=_FETCH_TIMEOUT_SECONDS) as client,
        ):
            response = await client.get(url, headers=_HEADERS)
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"HTTP {response.status_code}")
        return response.content

    return fetch


def jwks_members(body: bytes) -> list[Any]:
    """Return the members of a JWKS document; ValueError if it is not one."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError("not JSON") from exc
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > _MAX_KEYS:
        raise ValueError(f"no `keys`, or more than {_MAX_KEYS}")
    return members


def usable_keys(members: Iterable[Any]) -> tuple[Key, ...]:
    """Return the keys that can verify tokens; ValueError where there is none.

    Unknown keys are skipped (RFC 7517, section 5): an issuer may publish types that only newer programs know.
    """
    keys = tuple(_usable_keys(members))
    if not keys:
        raise ValueError("no key in it can be used")
    return keys


def _usable_keys(members: Iterable[Any]) -> Iterator[Key]:
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # about short RSA keys, which are skipped
                key = import_key(member)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, OctKey) and not _is_short(key):
            yield key


def key_from_file(path: Path) -> Key:
    """Return the public key in a PEM file; ConfigurationError where there is no usable one."""
    try:
        pem = path.read_bytes()
    except OSError as exc:
        problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} cannot be read ({exc.strerror})."
        raise ConfigurationError([problem]) from exc
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                key: Key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} holds a private key; it must be the issuer's public one."
            raise ConfigurationError([problem])
        if not _is_short(key):
            return key
    problem = f"GATEWAY_JWT_PUBLIC_KEY_FILE: {path} holds no public key in PEM (RSA of 2048 bits or more, EC, Ed25519)."
    raise ConfigurationError([problem])


def _is_short(key: Key) -> bool:
    return isinstance(key, RSAKey) and key.raw_value.key_size < _MIN_RSA_BITS
