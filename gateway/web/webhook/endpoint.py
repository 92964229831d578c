"""The endpoint for webhooks: ``POST /webhooks/gochat``.

    authorization ─▶ body ─▶ duplicate? ─▶ rate ─▶ bus ─▶ 204

A success says that the bus has the event. Where it cannot have it the response is 503 with ``Retry-After``, so that the
vendor sends the event again. Nothing of the body is believed but ids: a forged or repeated event costs a purge and a
read.
"""

import hashlib
import hmac
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import msgspec
from cachetools import LRUCache
from prometheus_client.core import Metric
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.auth.rate_limits import Rate
from gateway.errors import BodyTooLarge
from gateway.events import Changes
from gateway.settings import LiveSettings, words
from gateway.storage.shared import Shared, Store
from gateway.telemetry import Counts, log_fields
from gateway.telemetry.metrics import counter
from gateway.upstream.drift.comparison import webhook_drift
from gateway.upstream.drift.sampling import DriftSampling
from gateway.web.request import ClientDisconnected, HttpRequest, retry_after_header
from gateway.web.webhook.body import Reading, read_event

PATH = "/webhooks/gochat"

_MAX_BODY_BYTES = 256 * 1024
_REMEMBERED_SECONDS = 72 * 3600.0
MAX_REMEMBERED = 100_000
_MAX_SHAPES = 1000
_MAX_KEPT = 1000
_KEPT = "gochat-gateway:webhooks-not-understood"
_RETRY_AFTER_SECONDS = 5.0
_COUNT = "webhook: "
_OUTCOMES = (
    *("taken", "duplicate", "unknown"),
    *("method", "network", "authorization", "too large", "rate", "bus"),
)

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Memory(Protocol):
    """Remembers events that were taken."""

    async def has(self, name: str) -> bool:
        """Return whether the event was taken before."""

    async def add(self, name: str) -> None:
        """Remember it."""


class OwnMemory:
    """The last 100,000 events of this process: some 23 MB. The one that was taken first is forgotten first."""

    def __init__(self) -> None:
        self._names: LRUCache[str, bool] = LRUCache(MAX_REMEMBERED)

    async def has(self, name: str) -> bool:
        """Return whether the event was taken before."""
        return name in self._names

    async def add(self, name: str) -> None:
        """Remember it."""
        self._names[name] = True


@dataclass(frozen=True, slots=True)
class _SharedMemory:
    """The events of the last three days, of all gateways that share a Redis."""

    store: Store

    async def has(self, name: str) -> bool:
        (value,) = await self.store.get([name])
        return value is not None

    async def add(self, name: str) -> None:
        await self.store.set(name, b"1", _REMEMBERED_SECONDS)


@dataclass(frozen=True, slots=True)
class UnknownEvents:
    """Logs each shape of events that were not understood once, and keeps the last of them in Redis for `check`.

    Without Redis there is nowhere that another program could read them: then there is only the log.
    """

    shared: Shared
    shapes: LRUCache[tuple[str, ...], bool] = field(default_factory=lambda: LRUCache(_MAX_SHAPES))

    async def note(self, reading: Reading) -> None:
        """Log the shape if it is new, and keep it."""
        shape = reading.unknown or ()
        if shape not in self.shapes:
            self.shapes[shape] = True
            log_fields(logging.WARNING, "webhook not understood", {"code": reading.event.code, "shape": shape})
        redis = self.shared.redis
        if redis is not None:
            entry = msgspec.json.encode({"code": reading.event.code, "shape": shape})
            pipeline = redis.client.pipeline(transaction=False).lpush(_KEPT, entry).ltrim(_KEPT, 0, _MAX_KEPT - 1)
            await redis.run("webhook", pipeline.execute)

    async def kept(self) -> Counter[tuple[str, tuple[str, ...]]] | None:
        """Return how often each code and shape is among the last thousand; None without Redis or its response."""
        redis = self.shared.redis
        if redis is None:
            return None
        entries = await redis.run("webhook", lambda: redis.client.lrange(_KEPT, 0, -1))
        if entries is None:
            return None
        decoded = (msgspec.json.decode(each) for each in entries)
        return Counter((str(each["code"]), tuple(each["shape"])) for each in decoded)


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """The ASGI application for webhooks. ``now`` is the wall clock, in seconds."""

    authorizations: Sequence[bytes] = field(repr=False)
    networks: Sequence[_Network]
    changes: Changes
    memory: _Memory
    rate: Rate
    unknown: UnknownEvents
    counts: Counts
    now: Callable[[], float]
    drift: DriftSampling | None = None

    def route(self) -> Route:
        """Return the route."""
        return Route(PATH, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = HttpRequest.of(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnected:
            return
        await response(scope, receive, send)

    async def _respond(self, request: HttpRequest) -> Response:
        if request.method != "POST":
            return self._refuse(405, "method", "Webhooks are sent with POST.", {"allow": "POST"})
        if not self._is_from_network(request.address):
            return self._refuse(403, "network", "This address may not send webhooks.")
        if not self._is_authorized(request.headers.get("authorization")):
            return self._refuse(401, "authorization", "The header Authorization is wrong.")
        try:
            body = await request.body(_MAX_BODY_BYTES)
        except BodyTooLarge as exc:
            return self._refuse(413, "too large", exc.message)
        return await self._take(read_event(body, self.now()))

    async def _take(self, reading: Reading) -> Response:
        name = _name(reading)
        if name is not None and await self.memory.has(name):
            return self._answer("duplicate")
        event = reading.event
        standing = await self.rate.take("webhook", max(1, len(event.subjects)))
        if standing is not None and not standing.allowed:
            return self._refuse(503, "rate", "Too many events.", retry_after_header(standing.retry_after))
        if reading.unknown is not None:
            await self.unknown.note(reading)
            if self.drift is not None:
                self.drift.record(webhook_drift(reading.event.code, reading.unknown))
        if (event.subjects or event.everything) and not await self.changes.publish(event):
            retry = retry_after_header(_RETRY_AFTER_SECONDS)
            return self._refuse(503, "bus", "The event cannot be passed on at the moment.", retry)
        if name is not None:
            await self.memory.add(name)
        return self._answer("unknown" if reading.unknown is not None else "taken")

    def _answer(self, outcome: str) -> Response:
        self.counts[_COUNT + outcome] += 1
        return Response(status_code=204)

    def _refuse(self, status: int, outcome: str, message: str, headers: dict[str, str] | None = None) -> Response:
        self.counts[_COUNT + outcome] += 1
        return JSONResponse({"error": message}, status, headers)

    def _is_authorized(self, value: str | None) -> bool:
        sent = (value or "").encode("latin-1")
        # All are compared, so that the time does not say which of them is right.
        return sum(hmac.compare_digest(sent, each) for each in self.authorizations) > 0

    def _is_from_network(self, address: str | None) -> bool:
        if not self.networks:
            return True
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        plain = getattr(found, "ipv4_mapped", None) or found
        return any(plain in network for network in self.networks)


def build_webhook(
    settings: LiveSettings, changes: Changes, shared: Shared, drift: DriftSampling | None = None
) -> WebhookEndpoint | None:
    """Return the endpoint; None where no authorization is set. ConfigurationError for a wrong rate."""
    if settings.webhook_authorization is None:
        return None
    store = shared.store("webhook")
    return WebhookEndpoint(
        _secrets(settings.webhook_authorization, settings.webhook_authorization_previous),
        [ipaddress.ip_network(each) for each in words(settings.webhook_networks)],
        changes,
        OwnMemory() if store is None else _SharedMemory(store),
        build_webhook_rate(settings, shared),
        UnknownEvents(shared),
        shared.counts,
        shared.timing.now,
        drift,
    )


def webhook_metrics(counts: Counts) -> Iterator[Metric]:
    """Yield the metrics of webhooks. They are read at each scrape."""
    yield counter(
        "webhooks",
        "Webhooks: taken, duplicate, unknown (taken, but not understood), or the reason why they were refused.",
        ("outcome",),
        {(outcome,): counts[_COUNT + outcome] for outcome in _OUTCOMES},
    )


def build_webhook_rate(settings: LiveSettings, shared: Shared) -> Rate:
    """Return the limit of what webhooks may name; ConfigurationError where it is none."""
    from gateway.auth.gcra import build_rate  # noqa: PLC0415 - see there: it is slow to import

    return build_rate("webhook_purge_rate", settings.webhook_purge_rate, shared)


def _secrets(*values: SecretStr | None) -> list[bytes]:
    return [each.get_secret_value().encode() for each in values if each is not None]


def _name(reading: Reading) -> str | None:
    if reading.identity is None:
        return None
    return f"event:{hashlib.blake2b(msgspec.json.encode(reading.identity), digest_size=16).hexdigest()}"
