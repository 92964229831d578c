"""The response cache: the bodies of successful GETs, kept for a short time, private to a credential.

The key of an entry holds a keyed hash of the credential. So a caller cannot read an entry of another credential, and a
reader of the store cannot recover the credential. An entry ages in three steps:

    fresh ──ttl──▶ stale, served while it is refreshed (stale-while-revalidate) ──▶ stale, served only if the upstream
    fails (stale-if-error) ──▶ expired

Purging works by generations: random numbers that are stored beside the entries. Every subject (a thread, a customer)
has one, and so has everything. An entry records both that were current *before* its call was sent, and is valid only
while they still are. So a response that was on its way while its thread was purged is not served afterwards. A subject
without a generation has no valid entries and gets a new generation with the next call. A store that evicts a generation
therefore also invalidates its entries, and cannot undo a purge.

Why not a library: a hit takes 3 us here and two look-ups of 29 us with cashews, which bounds entries and not bytes.
hishel keeps entries in SQLite or Redis only (tests/bench/libraries.py).
"""

import asyncio
import hashlib
import secrets
import struct
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from gateway.errors import Unauthenticated, UpstreamInvalidResponse, UpstreamTimeout, UpstreamUnavailable
from gateway.http1 import CallFailed, Response
from gateway.storage.memory import MemoryEntry, MemoryStore
from gateway.storage.shared import Store
from gateway.telemetry import Counts
from gateway.upstream.call import Call, Credentials, Owner, ResponseOrigin, RestRequest, Transport, owner_of
from gateway.upstream.contract import Read

_HEADER = struct.Struct(">d32s")
_EVERYTHING = "generation"
_MADE = "made of responses"
# What one of the responses adds to the memory of what is made of it: its place, a key, and a reference.
_BYTES_OF_ONE = 400
_CACHED = f"cache_{ResponseOrigin.CACHED}"
# The entries of a generation expire with it. Each subject pays one call per lifetime, and 150 bytes in the store.
_GENERATION_LIFETIME_SECONDS = 600.0
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FAILURES = (CallFailed, UpstreamUnavailable, UpstreamTimeout, UpstreamInvalidResponse, TimeoutError)
# Responses that say nothing about the resource: request timeout, too many requests.
_TEMPORARY = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long a response is fresh, by route template, and how long it may be served after that; in seconds."""

    ttl: Mapping[str, float]
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    max_entry: int = 1024 * 1024
    """The largest body that is stored, in bytes."""
    refresh_timeout: float = 10.0
    """How long a refresh in the background may take."""


@dataclass(frozen=True, slots=True)
class _Entry:
    body: bytes = field(repr=False)
    age: float


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Where the response to a request is stored, and what was found.

    ``generations`` are the subject's and that of everything; None where one is unknown.
    """

    key: str
    ttl: float
    generations: tuple[bytes | None, bytes | None]
    entry: _Entry | None

    @property
    def generation(self) -> bytes | None:
        """Both together; None if one is unknown."""
        subject, everything = self.generations
        return None if subject is None or everything is None else subject + everything


class FreshEntry(msgspec.Struct, frozen=True):
    """A fresh response in the memory of this process. ``age`` is in seconds."""

    place: "_Place"
    entry: MemoryEntry
    age: float

    @property
    def route(self) -> Read:
        """The route that it is a response of."""
        return self.place.route

    def holds(self, body: bytes) -> bool:
        """Return whether ``body`` is that of the response."""
        return self.entry.value[_HEADER.size :] == body


class _Place(NamedTuple):
    """Where the response to a GET is kept, and the generation of its subject."""

    route: Read
    key: str
    generation: str


class _Made(NamedTuple):
    """What was made of responses: of these entries, each at its place."""

    made: Any
    of: tuple[tuple[_Place, "weakref.ref[MemoryEntry]"], ...]


class ResponseCache:
    """Wraps a transport with a cache; see the top of this file.

    ``secret`` keys the hash of credentials: gateways that share a store must share it. ``now`` is the wall clock in
    seconds, because gateways that share a store compare times.
    """

    def __init__(
        self,
        following: Transport,
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
        self._hash = hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=24)
        self._counts = counts
        self._now = now
        self._refreshes: dict[str, asyncio.Task[None]] = {}
        self.is_suspended = False
        """Whether nothing is looked up or stored: while purges may be missed."""

    async def send(self, request: RestRequest) -> Response:
        """Return a fresh response from the cache, or send the request and store its response."""
        ttl = self._policy.ttl.get(request.route.template, 0.0)
        if not request.is_safe or ttl <= 0 or self.is_suspended:
            return await self._following.send(request)
        call = request.call
        found = await self._look_up(request, ttl)
        entry = found.entry
        if entry is None or request.fresh:
            return await self._fetch(await self._with_generation(found, request.subject), request)
        if entry.age < ttl:
            return self._serve(call, entry, ResponseOrigin.CACHED)
        if entry.age < ttl + self._policy.stale_while_revalidate:
            self._refresh(found, request)
            return self._serve(call, entry, ResponseOrigin.STALE)
        if entry.age < ttl + self._policy.stale_if_error:
            return await self._fetch_or_serve(found, request, entry)
        return await self._fetch(found, request)

    def fresh(self, owner: Owner, route: Read, target: str, subject: str) -> FreshEntry | None:
        """Return the entry that would answer this GET now, if it is fresh and in the memory of this process."""
        place = _Place(route, self._key(owner, route.method, target), _generation_key(subject))
        return self._fresh(self._store, place) if isinstance(self._store, MemoryStore) else None

    def _fresh(self, store: MemoryStore, place: _Place) -> FreshEntry | None:
        entry = None if self.is_suspended else store.entry(place.key)
        if entry is None or len(entry.value) < _HEADER.size:
            return None
        of_subject, everything = store.entry(place.generation), store.entry(_EVERYTHING)
        stored, noted = _HEADER.unpack_from(entry.value)
        if of_subject is None or everything is None or noted != of_subject.value + everything.value:
            return None
        age = max(0.0, self._now() - stored)
        return FreshEntry(place, entry, age) if age < self._policy.ttl.get(place.route.template, 0.0) else None

    def keep(self, owner: Owner, name: bytes, made: Any, size: int, entries: Sequence[FreshEntry]) -> None:
        """Keep what was made of the entries that `fresh` returned, as ``size`` bytes, until the first of them ends."""
        if isinstance(self._store, MemoryStore):
            of = tuple((each.place, weakref.ref(each.entry)) for each in entries)
            size += _BYTES_OF_ONE * len(of)
            expires = min(each.entry.expires for each in entries)
            self._store.keep(self._key(owner, _MADE, msgspec.Raw(name)), _Made(made, of), size, expires)

    def made(self, owner: Owner, name: bytes) -> tuple[Any, list[FreshEntry]] | None:
        """Return what `keep` keeps by this name, and what `fresh` returns for it: those very entries. It is counted."""
        store = self._store
        if not isinstance(store, MemoryStore):
            return None
        kept = store.entry(self._key(owner, _MADE, msgspec.Raw(name)))
        if kept is None:
            return None
        made, of = kept.made
        found = []
        for place, entry in of:
            fresh = self._fresh(store, place)
            if fresh is None or fresh.entry is not entry():
                return None
            found.append(fresh)
        self._counts[_CACHED] += len(found)
        return made, found

    async def purge(self, subject: str) -> bool:
        """Invalidate every caller's entries about ``subject``: ``thread:<id>`` or ``customer:<external id>``.

        Return whether the store accepted it. If not, the entries may be served until they expire.
        """
        return await self._begin_generation(_generation_key(subject))

    async def purge_everything(self) -> bool:
        """Invalidate all entries. Return whether the store accepted it."""
        return await self._begin_generation(_EVERYTHING)

    async def _begin_generation(self, key: str) -> bool:
        return await self._store.set(key, _new_generation(), self._generation_lifetime(), urgent=True)

    def _key(self, owner: Owner, what: str, name: str | msgspec.Raw) -> str:
        """Hash the owner, which may be a credential, and a method with its target, or `_MADE` with a name."""
        key = self._hash.copy()
        key.update(msgspec.json.encode((*owner, what, name)))
        return key.hexdigest()

    async def _look_up(self, request: RestRequest, ttl: float) -> _Lookup:
        key = self._key(owner_of(request.authorization, request.account), request.method, request.target)
        value, *generations = await self._store.get([key, _generation_key(request.subject), _EVERYTHING])
        found = _Lookup(key, ttl, (generations[0], generations[1]), None)
        return replace(found, entry=self._entry(value, found.generation))

    def _entry(self, value: bytes | None, generation: bytes | None) -> _Entry | None:
        if value is None or len(value) < _HEADER.size:
            return None
        stored, noted = _HEADER.unpack_from(value)
        if noted != generation:
            return None
        return _Entry(value[_HEADER.size :], max(0.0, self._now() - stored))

    async def _with_generation(self, found: _Lookup, subject: str | None) -> _Lookup:
        """Set the generation that the response to a call sent from now on belongs to."""
        if found.generation is not None:
            return found
        of_subject, everything = found.generations
        of_subject = of_subject or await self._claim(_generation_key(subject))
        return replace(found, generations=(of_subject, everything or await self._claim(_EVERYTHING)))

    async def _claim(self, key: str) -> bytes | None:
        return await self._store.claim(key, _new_generation(), self._generation_lifetime())

    def _serve(self, call: Call, entry: _Entry, origin: ResponseOrigin) -> Response:
        call.origin, call.age = origin, entry.age
        self._counts[f"cache_{origin}"] += 1
        return Response(200, {}, entry.body)

    async def _fetch_or_serve(self, found: _Lookup, request: RestRequest, entry: _Entry) -> Response:
        """Return a new response, or the stale one if the REST API fails (RFC 5861, section 4)."""
        # At the deadline the caller cancels this call, so the stale response must be returned earlier.
        call, now = request.call, asyncio.get_running_loop().time()
        earlier = msgspec.structs.replace(
            call, deadline=now + _a_little_less(call.deadline - now), timeout=_a_little_less(call.timeout)
        )
        try:
            async with asyncio.timeout_at(earlier.deadline):
                response = await self._fetch(found, msgspec.structs.replace(request, call=earlier))
        except _FAILURES:
            return self._serve(call, entry, ResponseOrigin.STALE)
        finally:
            call.attempts = earlier.attempts
        return self._serve(call, entry, ResponseOrigin.STALE) if _failed(response) else response

    async def _fetch(self, found: _Lookup, request: RestRequest) -> Response:
        response = await self._following.send(request)
        self._counts["cache_missed"] += 1
        if _failed(response) or response.status in _TEMPORARY:
            return response
        if response.status == HTTPStatus.OK and len(response.body) <= self._policy.max_entry:
            await self._save(found, _HEADER.pack(self._now(), found.generation or b"") + response.body)
        elif found.entry is not None:
            await self._save(found, b"")  # an entry that the REST API withdrew or replaced must not be served as stale
        return response

    async def _save(self, found: _Lookup, value: bytes) -> None:
        if found.generation is not None:  # None: the store does not answer
            await self._store.set(found.key, value, self._lifetime(found.ttl))

    def _lifetime(self, ttl: float) -> float:
        return ttl + max(self._policy.stale_while_revalidate, self._policy.stale_if_error)

    def _generation_lifetime(self) -> float:
        return max(_GENERATION_LIFETIME_SECONDS, 2 * self._lifetime(max(self._policy.ttl.values())))

    def _refresh(self, found: _Lookup, request: RestRequest) -> None:
        """Refresh in the background, once for all callers who get the stale response meanwhile."""
        if found.key in self._refreshes:
            return
        timeout = self._policy.refresh_timeout
        deadline = asyncio.get_running_loop().time() + timeout
        call = msgspec.structs.replace(request.call, deadline=deadline, timeout=timeout)
        refresh = msgspec.structs.replace(request, call=call)
        task = asyncio.create_task(self._refresh_now(found, refresh), name="cache-refresh")
        self._refreshes[found.key] = task
        task.add_done_callback(lambda _done: self._refreshes.pop(found.key, None))

    async def _refresh_now(self, found: _Lookup, request: RestRequest) -> None:
        try:
            async with asyncio.timeout_at(request.call.deadline):
                failed = _failed(await self._fetch(found, request))
        except (*_FAILURES, Unauthenticated):
            failed = True
        self._counts["cache_renewals_failed"] += failed

    async def aclose(self) -> None:
        """Cancel refreshes and wait until they have ended, and close the store and the transport that follows.

        A refresh that ended later could open a connection that nothing closes any more.
        """
        refreshes = list(self._refreshes.values())
        for task in refreshes:
            task.cancel()
        await asyncio.gather(*refreshes, return_exceptions=True)
        await self._store.aclose()
        await self._following.aclose()


@dataclass(frozen=True, slots=True)
class CachedReads:
    """Finds responses in the memory of this process for calls that could be made at once."""

    credentials: Credentials
    cache: ResponseCache

    def find(
        self, authorization: str | None, route: Read, identifier: str, query: Mapping[str, int]
    ) -> FreshEntry | None:
        """Return the response that a caller with this header would get now, without waiting and without a call."""
        owner = self.credentials.owner(authorization)
        if owner is None:
            return None
        return self.cache.fresh(owner, route, route.target(identifier, query), route.subject.of(identifier))

    def keep(self, authorization: str | None, name: bytes, made: Any, size: int, entries: Sequence[FreshEntry]) -> None:
        """Keep what was made of responses that `find` returned to a caller with this header."""
        owner = self.credentials.owner(authorization)
        if owner is not None:
            self.cache.keep(owner, name, made, size, entries)

    def made(self, authorization: str | None, name: bytes) -> tuple[Any, list[FreshEntry]] | None:
        """Return what `keep` keeps by this name, and what `find` would return for it: what it was made of, or None."""
        owner = self.credentials.owner(authorization)
        return None if owner is None else self.cache.made(owner, name)


def _failed(response: Response) -> bool:
    """Whether the REST API failed: it answered 5xx, or 200 with a body that is not a JSON object.

    A gateway reports the second as 502 (RFC 9110, section 15.6.3), so it counts as a server error in RFC 5861.
    """
    if response.status != HTTPStatus.OK:
        return response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    try:
        _JSON_OBJECT.decode(response.body.decode())  # decoded to text first: raw values are not checked otherwise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _a_little_less(seconds: float) -> float:
    """Return one second less, or a quarter less if that is the smaller difference."""
    return seconds - min(1.0, seconds / 4)


@lru_cache(maxsize=1024)
def _generation_key(subject: str | None) -> str:
    """Hash the subject, because an id may be long; without the secret, so that all gateways share purges."""
    return f"generation:{hashlib.blake2b((subject or '').encode(), digest_size=16).hexdigest()}"


def _new_generation() -> bytes:
    return secrets.token_bytes(16)
