"""The public keys that tokens are verified with: one from a file, or those that the issuer publishes (RFC 7517).

    fetched ──ttl──▶ due: fetched anew behind the scenes, while the old keys serve
       │               └──ttl──▶ overdue: nobody came in the meantime, and whoever comes now waits for the new keys
       │
       └── a token names an unknown key: fetched anew at once, but not sooner than `_PAUSE` after the last attempt

At most one fetch is under way. One that fails changes nothing: the last good keys serve while the issuer is down, and
what is due is due again `_PAUSE` after that, so that callers wait for an issuer that hangs only after a long rest. So
tokens that name made-up keys cost the issuer a request in `_PAUSE` seconds, however many they are; and for as long, at
most, a new key of the issuer's may go unnoticed.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import httpx
from joserfc.jwk import Key

from gateway.auth.keys import fits, published_keys, usable_keys
from gateway.errors import UpstreamUnavailable
from gateway.telemetry import Counts, logger

FETCH_FAILURES = (httpx.HTTPError, OSError, TimeoutError, ValueError)
"""What fetching keys, and reading them, may raise."""

_PAUSE = 10.0
_TIMEOUT = 5.0
_MOST_BYTES = 256 * 1024
# As it is: compressed, a small answer could unfold into a large one.
_HEADERS = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}


class Keys(Protocol):
    """Finds the key that a token names."""

    generation: int
    """Changes when keys were replaced: what was verified with the old ones is no longer."""

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key, None where there is none; UpstreamUnavailable where no keys could be had so far."""

    async def refresh_if_due(self) -> None:
        """Begin to fetch the keys anew, if it is time; return when they are there, if it has been for long."""

    async def aclose(self) -> None:
        """Give up what is under way."""


class PublicKey:
    """One key from a PEM file. Tokens may call it what they like."""

    generation = 0

    def __init__(self, key: Key) -> None:
        self._key = key

    async def find(self, kid: str | None, algorithm: str) -> Key | None:  # noqa: ARG002 - the protocol's signature
        """Return the key, if it is one for the algorithm."""
        return self._key if fits(self._key, algorithm) else None

    async def refresh_if_due(self) -> None:
        """Do nothing: another key takes a restart."""

    async def aclose(self) -> None:
        """Do nothing."""


class PublishedKeys:
    """The keys that the issuer publishes; see the top of this file. ``clock`` is monotonic, in seconds."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]], ttl: float, counts: Counts, clock: Callable[[], float]
    ) -> None:
        self._fetch = fetch
        self._ttl = ttl
        self._counts = counts
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._published: list[Any] = []
        self._due = clock()
        self._not_before = clock()
        self._task: asyncio.Task[None] | None = None
        self.generation = 0

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key; a token without a key id is for a set that has but one key for its algorithm."""
        key = self._look_up(kid, algorithm)
        if key is None and (self._task is not None or self._clock() >= self._not_before):
            # Shielded: one caller who leaves does not take the keys away from the others.
            await asyncio.shield(self._refresh())
            key = self._look_up(kid, algorithm)
        if key is None and not self._keys:
            seconds = max(1.0, self._not_before - self._clock())
            raise UpstreamUnavailable("The token issuer's keys cannot be had.", retry_after=float(ceil(seconds)))
        return key

    async def refresh_if_due(self) -> None:
        """Begin to fetch the keys anew, if it is time; return when they are there, if it has been for another ttl."""
        late = self._clock() - self._due
        if late >= 0 and self._keys:
            refreshed = self._refresh()
            if late >= self._ttl:
                await asyncio.shield(refreshed)

    def _look_up(self, kid: str | None, algorithm: str) -> Key | None:
        fitting = [key for key in self._keys if fits(key, algorithm)]
        if kid is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.kid == kid), None)

    def _refresh(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = asyncio.create_task(self._fetch_now(), name="jwks")
            self._task.add_done_callback(self._over)
        return self._task

    def _over(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        self._not_before = self._clock() + _PAUSE
        self._due = max(self._due, self._not_before)

    async def _fetch_now(self) -> None:
        try:
            published = published_keys(await self._fetch())
            keys = usable_keys(published)
        except FETCH_FAILURES as exc:
            self._counts["jwks_failed"] += 1
            logger.warning("the token issuer's keys cannot be fetched (%s); those known stay in use", why(exc))
            return
        self._counts["jwks_fetched"] += 1
        self._due = self._clock() + self._ttl
        if published != self._published:
            self._keys, self._published = keys, published
            self.generation += 1

    async def aclose(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()


def why(failure: Exception) -> str:
    """Return why keys could not be fetched: in our own words, or by the error's name, for its text holds addresses."""
    return str(failure) if type(failure) is ValueError else type(failure).__name__


def fetcher(url: str, ca_file: Path | None) -> Callable[[], Awaitable[bytes]]:
    """Return a function that fetches ``url``: ValueError for what is no answer or a long one, or an httpx.HTTPError.

    It keeps no connection, since it is called once in minutes; and it follows no redirect, since whoever makes one
    could name other keys.
    """
    verify: ssl.SSLContext | bool = False  # what is not https is on this machine: see `gateway.auth.authenticator`
    if url.startswith("https:"):
        verify = ssl.create_default_context()
        if ca_file is not None:
            verify.load_verify_locations(ca_file)

    async def fetch() -> bytes:
        async with (
            asyncio.timeout(_TIMEOUT),
            httpx.AsyncClient(verify=verify, timeout=_TIMEOUT, trust_env=False) as client,
            client.stream("GET", url, headers=_HEADERS) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"HTTP {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
            return body

    return fetch
