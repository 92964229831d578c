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
from dataclasses import dataclass, replace

import httpx
import msgspec

from gateway.compat.httpx import WholeResponse
from gateway.errors import UpstreamInvalidResponse, UpstreamTimeout, UpstreamUnavailable
from gateway.storage.memory import Store
from gateway.telemetry import Counts
from gateway.upstream.call import EXTENSION, Call, Origin, call_of

_HEADER = struct.Struct(">d16s")
# When a generation ends, its entries do: it costs each subject one call in that time, and the store some 150 bytes.
_GENERATION_LIFETIME = 600.0
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FAILURES = (httpx.TransportError, UpstreamUnavailable, UpstreamTimeout, UpstreamInvalidResponse, TimeoutError)
# Answers that say nothing of what was asked for: too slow, and too many.
_PASSING = frozenset({408, 429})


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


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the answer to a request is kept, and what was found there. ``generation`` is None where it is unknown."""

    key: str
    ttl: float
    generation: bytes | None
    entry: _Entry | None


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
        slot = await self._look_up(request, call, ttl)
        entry = slot.entry
        if entry is None:
            return await self._fetch(await self._with_generation(slot, call), request)
        if entry.age < ttl:
            return self._serve(request, call, entry, Origin.CACHED)
        if entry.age < ttl + self._policy.stale_while_revalidate:
            self._renew(slot, request, call)
            return self._serve(request, call, entry, Origin.STALE)
        if entry.age < ttl + self._policy.stale_if_error:
            return await self._fetch_or_serve(slot, request, call, entry)
        return await self._fetch(slot, request)

    async def purge(self, subject: str) -> bool:
        """Forget every caller's entries about ``subject``: ``thread:<id>`` or ``customer:<external id>``.

        Return whether the store took it. Where it did not, its entries may be served until their time is over.
        """
        key, generation = _generation_key(subject), _new_generation()
        return await self._store.set(key, generation, self._generation_lifetime(), urgent=True)

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

    async def _look_up(self, request: httpx.Request, call: Call, ttl: float) -> _Slot:
        key = self._key(request, call)
        value, generation = await self._store.get([key, _generation_key(call.subject)])
        return _Slot(key, ttl, generation, self._entry(value, generation))

    def _entry(self, value: bytes | None, generation: bytes | None) -> _Entry | None:
        if value is None or len(value) < _HEADER.size:
            return None
        stored, noted = _HEADER.unpack_from(value)
        if noted != generation:
            return None
        return _Entry(value[_HEADER.size :], max(0.0, self._now() - stored))

    async def _with_generation(self, slot: _Slot, call: Call) -> _Slot:
        """Name the generation that the answer of a call made from now on belongs to."""
        if slot.generation is not None:
            return slot
        key, begun = _generation_key(call.subject), _new_generation()
        return replace(slot, generation=await self._store.claim(key, begun, self._generation_lifetime()))

    def _serve(self, request: httpx.Request, call: Call, entry: _Entry, origin: Origin) -> httpx.Response:
        call.origin, call.age = origin, entry.age
        self._counts[f"cache_{origin}"] += 1
        return WholeResponse(200, entry.body, request=request)

    async def _fetch_or_serve(self, slot: _Slot, request: httpx.Request, call: Call, entry: _Entry) -> httpx.Response:
        """Return a new answer, or the stale one where the REST API fails (RFC 5861, section 4)."""
        # The caller gives up at the deadline, and the layers below are cancelled: the stale answer must come before.
        slow_at = None if call.slow_at is None else _a_little_before(call.slow_at)
        sooner = replace(call, deadline=_a_little_before(call.deadline), slow_at=slow_at)
        try:
            async with asyncio.timeout_at(sooner.deadline):
                response = await self._fetch(slot, _copy(request, sooner))
        except _FAILURES:
            return self._serve(request, call, entry, Origin.STALE)
        finally:
            call.attempts = sooner.attempts
        return self._serve(request, call, entry, Origin.STALE) if _failed(response) else response

    async def _fetch(self, slot: _Slot, request: httpx.Request) -> httpx.Response:
        response = await self._following.handle_async_request(request)
        self._counts["cache_missed"] += 1
        if _failed(response) or response.status_code in _PASSING:
            return response
        if response.status_code == httpx.codes.OK and len(response.content) <= self._policy.max_entry:
            await self._keep(slot, _HEADER.pack(self._now(), slot.generation or b"") + response.content)
        elif slot.entry is not None:
            await self._keep(slot, b"")  # what the REST API took back, or replaced, is not served again as stale
        return response

    async def _keep(self, slot: _Slot, value: bytes) -> None:
        if slot.generation is not None:  # else the store does not answer
            await self._store.set(slot.key, value, self._lifetime(slot.ttl))

    def _lifetime(self, ttl: float) -> float:
        return ttl + max(self._policy.stale_while_revalidate, self._policy.stale_if_error)

    def _generation_lifetime(self) -> float:
        return max(_GENERATION_LIFETIME, 2 * self._lifetime(max(self._policy.ttl.values())))

    def _renew(self, slot: _Slot, request: httpx.Request, call: Call) -> None:
        """Fetch anew behind the scenes, once for all who are served the stale answer meanwhile."""
        if slot.key in self._renewals:
            return
        deadline = asyncio.get_running_loop().time() + self._policy.renewal_timeout
        renewal = _copy(request, Call(call.route, deadline, call.subject, call.account))
        task = asyncio.create_task(self._renew_now(slot, renewal), name="cache-renewal")
        self._renewals[slot.key] = task
        task.add_done_callback(lambda _done: self._renewals.pop(slot.key, None))

    async def _renew_now(self, slot: _Slot, request: httpx.Request) -> None:
        try:
            async with asyncio.timeout_at(call_of(request).deadline):
                failed = _failed(await self._fetch(slot, request))
        except _FAILURES:
            failed = True
        self._counts["cache_renewals_failed"] += failed

    async def aclose(self) -> None:
        """Give up renewals, let go of the store, and close the transport that follows."""
        for task in list(self._renewals.values()):
            task.cancel()
        await self._store.aclose()
        await self._following.aclose()


def _failed(response: httpx.Response) -> bool:
    """Whether the REST API failed to answer: with 5xx, or with a success that is no JSON object.

    For the second a gateway says 502 (RFC 9110, section 15.6.3), and what would be a 5xx counts in RFC 5861.
    """
    if response.status_code != httpx.codes.OK:
        return response.is_server_error
    try:
        _JSON_OBJECT.decode(response.content.decode())  # as text: the values, left raw, are not looked at otherwise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _a_little_before(deadline: float) -> float:
    """Return the deadline less a second, or less a quarter of the time left where that is shorter."""
    now = asyncio.get_running_loop().time()
    return deadline - min(1.0, (deadline - now) / 4)


def _copy(request: httpx.Request, call: Call) -> httpx.Request:
    extensions = {**request.extensions, EXTENSION: call}
    return httpx.Request(request.method, request.url, headers=request.headers, extensions=extensions)


def _generation_key(subject: str | None) -> str:
    """Hashed to a fixed length: an id may be long. Without the secret: gateways that differ in it share purges."""
    return f"generation:{hashlib.blake2b((subject or '').encode(), digest_size=16).hexdigest()}"


def _new_generation() -> bytes:
    return secrets.token_bytes(16)
