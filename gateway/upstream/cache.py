"""The response cache: bytes of successful GETs, kept for a moment, for the caller they were sent to.

An entry's key holds a keyed hash of the credential, so it is private by construction: nobody can read an entry without
having sent that credential, and nobody who reads the store learns it. An entry passes through three ages:

    fresh ──ttl──▶ stale, served while it is renewed (stale-while-revalidate) ──▶ stale, served where the upstream
    fails (stale-if-error) ──▶ gone

Purging works by generations. Every subject (a thread, a customer) has one, a random number kept beside the entries; an
entry notes the generation that was current *before* its call was made, and counts only while that is still so. Hence an
answer that was under way while its thread was purged is not served afterwards. A subject without a generation has no
entries that count, and gets a new one with the next call: so a store that drops a generation drops its entries with it,
and never undoes a purge.
"""

import asyncio
import hashlib
import secrets
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
import msgspec

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.telemetry import Counts
from gateway.upstream.call import EXTENSION, Call, Source, call_of
from gateway.upstream.stores import Store

_HEADER = struct.Struct(">d16s")
# When a generation ends, its entries do: it costs each subject one call in that time, and the store some 150 bytes.
_GENERATION_LIFETIME = 600.0
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long an answer is fresh, by route template, and how long it may be served after that; in seconds."""

    ttl: Mapping[str, float]
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    max_entry: int = 1024 * 1024
    """The largest body that is kept, in bytes."""
    renewal_timeout: float = 10.0
    """How long a renewal behind the scenes may take."""


@dataclass(frozen=True, slots=True)
class _Entry:
    body: bytes
    age: float


class ResponseCache(httpx.AsyncBaseTransport):
    """Wraps a transport with a cache; see the top of this file.

    ``secret`` keys the hash of credentials: gateways that share a store must share it. ``now`` is the wall clock, in
    seconds, which gateways that share a store share as well.
    """

    def __init__(
        self,
        following: httpx.AsyncBaseTransport,
        store: Store,
        policy: CachePolicy,
        secret: bytes,
        *,
        counts: Counts,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._following = following
        self._store = store
        self._policy = policy
        self._secret = hashlib.sha256(secret).digest()
        self._counts = counts
        self._now = now
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return a fresh answer from the cache, or send the request and keep its answer."""
        call = call_of(request)
        ttl = self._policy.ttl.get(call.route, 0.0)
        if request.method != "GET" or ttl <= 0:
            return await self._following.handle_async_request(request)
        key = self._key(request, call)
        entry, generation = await self._look_up(key, call)
        if entry is not None and entry.age < ttl:
            return self._serve(request, call, entry, Source.CACHED)
        if entry is not None and entry.age < ttl + self._policy.stale_while_revalidate:
            self._renew(key, generation, request, ttl)
            return self._serve(request, call, entry, Source.STALE)
        if generation is None:
            generation = await self._begin(call)
        return await self._fetch(key, generation, request, ttl, entry)

    async def purge(self, subject: str) -> None:
        """Forget every caller's entries about ``subject``: ``thread:<id>`` or ``customer:<external id>``."""
        await self._store.set(_generation_key(subject), _new_generation(), self._generation_lifetime())

    def _key(self, request: httpx.Request, call: Call) -> str:
        """Hash what makes an answer somebody's own: the credential, the method and the URL.

        An account's name and a header are told apart: gateways that share a store need not share a mode, and a caller
        may send whatever header they like, an account's name too.
        """
        account = call.account
        owner = ("header", request.headers.get("authorization", "")) if account is None else ("account", account)
        parts = (*owner, request.method, str(request.url))
        text = b"".join(len(part).to_bytes(4) + part for part in (each.encode() for each in parts))
        return hashlib.blake2b(text, key=self._secret, digest_size=24).hexdigest()

    async def _look_up(self, key: str, call: Call) -> tuple[_Entry | None, bytes | None]:
        value, generation = await self._store.get([key, _generation_key(call.subject)])
        if value is None or len(value) < _HEADER.size:
            return None, generation
        stored, noted = _HEADER.unpack_from(value)
        if noted != generation:
            return None, generation
        return _Entry(value[_HEADER.size :], max(0.0, self._now() - stored)), generation

    async def _begin(self, call: Call) -> bytes | None:
        """Return the generation that the answer of a call made from now on will belong to."""
        return await self._store.claim(_generation_key(call.subject), _new_generation(), self._generation_lifetime())

    def _serve(self, request: httpx.Request, call: Call, entry: _Entry, source: Source) -> httpx.Response:
        call.source, call.age = source, entry.age
        self._counts[f"cache_{source}"] += 1
        return httpx.Response(200, content=entry.body, request=request)

    async def _fetch(
        self, key: str, generation: bytes | None, request: httpx.Request, ttl: float, entry: _Entry | None
    ) -> httpx.Response:
        usable = entry if entry is not None and entry.age < ttl + self._policy.stale_if_error else None
        try:
            response = await self._following.handle_async_request(request)
        except (httpx.TransportError, UpstreamUnavailable, UpstreamTimeout):
            if usable is None:
                raise
            return self._serve(request, call_of(request), usable, Source.STALE)
        if response.is_server_error and usable is not None:
            return self._serve(request, call_of(request), usable, Source.STALE)
        self._counts["cache_missed"] += 1
        await self._keep(key, generation, response, ttl)
        return response

    async def _keep(self, key: str, generation: bytes | None, response: httpx.Response, ttl: float) -> None:
        if generation is None:
            return  # the store does not answer
        if response.status_code != httpx.codes.OK or len(response.content) > self._policy.max_entry:
            return
        try:
            _JSON_OBJECT.decode(response.content.decode())  # as text: the values, left raw, are not looked at otherwise
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # an answer that is broken now need not be so in a moment
        value = _HEADER.pack(self._now(), generation) + response.content
        await self._store.set(key, value, self._lifetime(ttl))

    def _lifetime(self, ttl: float) -> float:
        return ttl + max(self._policy.stale_while_revalidate, self._policy.stale_if_error)

    def _generation_lifetime(self) -> float:
        return max(_GENERATION_LIFETIME, 2 * self._lifetime(max(self._policy.ttl.values())))

    def _renew(self, key: str, generation: bytes | None, request: httpx.Request, ttl: float) -> None:
        """Fetch anew behind the scenes, once for all who are served the stale answer meanwhile."""
        if key in self._renewals:
            return
        deadline = asyncio.get_running_loop().time() + self._policy.renewal_timeout
        call = call_of(request)
        renewal = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            extensions={**request.extensions, EXTENSION: Call(call.route, deadline, call.subject, call.account)},
        )
        task = asyncio.create_task(self._renew_now(key, generation, renewal, ttl), name="cache-renewal")
        self._renewals[key] = task
        task.add_done_callback(lambda _done: self._renewals.pop(key, None))

    async def _renew_now(self, key: str, generation: bytes | None, request: httpx.Request, ttl: float) -> None:
        try:
            async with asyncio.timeout(self._policy.renewal_timeout):
                await self._fetch(key, generation, request, ttl, None)
        except (httpx.TransportError, UpstreamUnavailable, UpstreamTimeout, TimeoutError):
            self._counts["cache_renewals_failed"] += 1

    async def aclose(self) -> None:
        """Give up renewals, let go of the store, and close the transport that follows."""
        for task in list(self._renewals.values()):
            task.cancel()
        await self._store.aclose()
        await self._following.aclose()


def _generation_key(subject: str | None) -> str:
    """Hashed to a fixed length: an id may be long. Without the secret: gateways that differ in it share purges."""
    return f"generation:{hashlib.blake2b((subject or '').encode(), digest_size=16).hexdigest()}"


def _new_generation() -> bytes:
    return secrets.token_bytes(16)
