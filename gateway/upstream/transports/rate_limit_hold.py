"""Holds back calls of a route and credential that the REST API has answered 429, until the time it asked for is over.

Without this, each of 50 operations would make its own call to learn of the same limit. Two layers share the holds:

    HoldBack   outside retry and the circuit breaker: a held call is refused at once, without waiting for a slot
    NoteHolds  inside the bulkhead: it notes every 429, also one that is retried, and refuses what waited for a slot
               meanwhile. It lets retries through, because they have waited as long as ``Retry-After`` asked

A hold belongs to the route and the credential that was sent. It lasts as long as ``Retry-After`` says, or a second.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from cachetools import LRUCache

from gateway.errors import RateLimited, UpstreamFailure
from gateway.http1 import Response
from gateway.telemetry import Counts
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.contract import TOKEN
from gateway.upstream.response import parse_retry_after

_MAX_HOLDS = 10_000
_DEFAULT_SECONDS = 1.0

_Key = tuple[str, bytes]


class RateLimitHolds:
    """Until when each route is held for each credential. ``clock`` is monotonic, ``now`` the wall clock, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._until: LRUCache[_Key, float] = LRUCache(_MAX_HOLDS)
        self._last = -math.inf
        """When the last hold ends: nothing is looked up after that."""
        self.held = Counts()
        """How many calls were refused unsent, by route."""

    def check(self, request: RestRequest) -> None:
        """Raise RateLimited if the call is held."""
        now = self._clock()
        if now >= self._last or request.route is TOKEN:
            return
        key = self._key(request)
        remaining = self._until.get(key, -math.inf) - now
        if remaining > 0:
            self.held[request.route.template] += 1
            failure = UpstreamFailure(HTTPStatus.TOO_MANY_REQUESTS)
            raise RateLimited(upstream=failure, retry_after=float(math.ceil(remaining)))
        self._until.pop(key, None)

    def note(self, request: RestRequest, response: Response) -> None:
        """Hold what comes later, if the response is a 429."""
        if response.status != 429 or request.route is TOKEN:
            return
        asked = parse_retry_after(response.header("retry-after"), now=self._now)
        until = self._clock() + (_DEFAULT_SECONDS if asked is None else asked)
        key = self._key(request)
        self._until[key] = max(until, self._until.get(key, until))
        self._last = max(self._last, until)

    def _key(self, request: RestRequest) -> _Key:
        """Hash the credential: memory should not hold it longer than its calls last."""
        owner = f"header {request.authorization or ''}" if request.account is None else f"own {request.account}"
        return request.route.template, hashlib.blake2b(owner.encode(), key=self._secret, digest_size=16).digest()


class HoldBack:
    """Refuses held calls at once; see the top of this file."""

    def __init__(self, following: Transport, holds: RateLimitHolds) -> None:
        self._following = following
        self._holds = holds

    def send(self, request: RestRequest) -> Coroutine[Any, Any, Response]:
        """Send the request unless it is held."""
        self._holds.check(request)
        return self._following.send(request)

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


class NoteHolds:
    """Notes each 429, and refuses first attempts that are held by now; see the top of this file."""

    def __init__(self, following: Transport, holds: RateLimitHolds) -> None:
        self._following = following
        self._holds = holds

    async def send(self, request: RestRequest) -> Response:
        """Send the request unless it is held."""
        if request.call.attempts <= 1:
            self._holds.check(request)
        response = await self._following.send(request)
        self._holds.note(request, response)
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()
