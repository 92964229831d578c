"""Builds the stack of transports that a REST call passes through, from the client down to the socket."""

import asyncio
import hashlib
import secrets
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from gateway.clock import Timing
from gateway.errors import ConfigurationError
from gateway.http1 import Pool, PoolSettings
from gateway.settings import CacheSettings, UpstreamAuth, UpstreamIdentity, UpstreamSettings
from gateway.storage.memory import MemoryStore
from gateway.storage.shared import Shared
from gateway.telemetry import Counts
from gateway.upstream.call import Credentials, Transport
from gateway.upstream.client import UpstreamClient
from gateway.upstream.contract import READS, Freshness
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.login_lock import GatewayLoginLock, LoginLock, NestedLoginLock
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_request
from gateway.upstream.credentials.worker_lock import WorkerLoginLock, WorkersMemory
from gateway.upstream.drift.sampling import DriftSampling
from gateway.upstream.transports.bulkhead import Bulkhead
from gateway.upstream.transports.cache import CachedReads, CachePolicy, ResponseCache
from gateway.upstream.transports.circuit_breaker import BreakerPolicy, CircuitBreaker
from gateway.upstream.transports.coalescing import Coalescing
from gateway.upstream.transports.rate_limit_hold import HoldBack, NoteHolds, RateLimitHolds
from gateway.upstream.transports.retry import Retry, RetryPolicy

Wrap: TypeAlias = Callable[[Transport], Transport]
"""Wraps a transport in another layer."""


class AccountStatus(Protocol):
    """The state of the credentials that are sent upstream."""

    def rejected(self) -> bool:
        """Return whether the REST API rejected the gateway's own account, so that calls fail unsent."""

    @property
    def token_age(self) -> float | None:
        """The age of the current token, in seconds; None without a valid one."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Purges what is known of the REST API: cached responses, and calls that are under way."""

    cache: ResponseCache | None
    coalescing: Coalescing | None
    is_shared: bool
    """Whether other processes share the cache."""

    async def shared(self, subjects: Iterable[str]) -> bool:
        """Purge what all processes share, of these threads and customers; return whether that was accepted."""
        if self.cache is None or not self.is_shared:
            return True
        return all(await asyncio.gather(*(self.cache.purge(each) for each in subjects)))

    async def own(self, subjects: Iterable[str]) -> None:
        """Purge what only this process has."""
        for subject in subjects:
            if self.cache is not None and not self.is_shared:
                await self.cache.purge(subject)
            if self.coalescing is not None:  # after the cache: until then a new call may find what is purged
                self.coalescing.purge(subject)

    def suspend(self) -> None:
        """Serve nothing from the cache until `everything` was accepted."""
        if self.cache is not None:
            self.cache.is_suspended = True

    async def everything(self) -> bool:
        """Purge everything; return whether the cache accepted it."""
        accepted = self.cache is None or await self.cache.purge_everything()
        if self.cache is not None and accepted:
            self.cache.is_suspended = False
        if self.coalescing is not None:
            self.coalescing.purge_everything()
        return accepted


@dataclass(frozen=True, slots=True)
class Upstream:
    """The client of the REST API, and the layers whose state health and metrics report."""

    client: UpstreamClient
    holds: RateLimitHolds
    retry: Retry
    breaker: CircuitBreaker
    bulkhead: Bulkhead
    pool: Pool
    account: AccountStatus
    counts: Counts
    purge: Purge
    drift: DriftSampling | None = None


def build_client(settings: UpstreamSettings, cache: CacheSettings, shared: Shared) -> UpstreamClient:
    """Return the REST client for ``settings``. It opens no connection before its first call."""
    return build_upstream(settings, cache, shared).client


def build_upstream(
    settings: UpstreamSettings,
    cache: CacheSettings,
    shared: Shared,
    instrumentation: Sequence[Wrap] = (),
    workers: WorkersMemory | None = None,
    drift: DriftSampling | None = None,
) -> Upstream:
    """Return the stack, with ``instrumentation`` around the socket. A call passes the layers in this order:

    credentials      first, so that all other layers see the final request; a 401 returns to this layer
    coalescing       an identical call that already runs costs nothing
    cache            inside coalescing: many identical misses are one look-up and one call
    hold             inside the cache: a 429 does not stop what needs no call; outside retry and the breaker: a held
                     call is no attempt. Its other half, inside the bulkhead, notes each 429
    retry            inside the cache: a stale response is served only if retries did not help
    circuit breaker  inside retry: it counts every attempt, and an open circuit ends the attempts
    bulkhead         inside the breaker: a call that must not be sent takes no slot, nor does a wait between attempts
    instrumentation  inside the bulkhead: it measures the REST API's time, without the wait for a slot
    http1.Pool       the sockets
    """  # noqa: D400, D415 - the list is the sentence
    counts, timing = shared.counts, shared.timing
    pool = _pool(settings, timing.clock)
    transport: Transport = pool
    for wrap in instrumentation:
        transport = wrap(transport)
    holds = RateLimitHolds(timing.clock, timing.now)
    bulkhead = Bulkhead(NoteHolds(transport, holds), settings.max_concurrency, settings.max_queue)
    breaker = CircuitBreaker(bulkhead, _breaker_policy(settings), timing.clock)
    retry = Retry(breaker, RetryPolicy(attempts=settings.retries + 1), timing)
    transport = HoldBack(retry, holds)
    cached, coalescing = None, None
    if cache.url is not None:
        store = shared.store("cache") or MemoryStore(cache.max_bytes, timing.clock)
        policy, secret = _cache_policy(cache, settings.operation_timeout), _entry_secret(cache, settings)
        transport = cached = ResponseCache(transport, store, policy, secret, counts=counts, now=timing.now)
    if settings.coalescing:
        transport = coalescing = Coalescing(transport)
    purge = Purge(cached, coalescing, is_shared=shared.redis is not None)
    lock = _login_lock(settings, cache, shared, workers)
    credentials, account = _credentials(settings, transport, retry, timing, lock)
    reads = None if cached is None or shared.redis is not None else CachedReads(credentials, cached)
    client = UpstreamClient(credentials, reads, drift)
    return Upstream(client, holds, retry, breaker, bulkhead, pool, account, counts, purge, drift)


def _credentials(
    settings: UpstreamSettings,
    transport: Transport,
    resilient: Transport,
    timing: Timing,
    lock: LoginLock,
) -> tuple[Credentials, AccountStatus]:
    """Add the credentials layer; the login call itself is neither coalesced nor cached."""
    if settings.identity is UpstreamIdentity.PASSTHROUGH:
        guard = BasicLoginGuard(transport)
        return guard, guard
    username, password = _service_account(settings)
    if settings.auth is UpstreamAuth.BASIC:
        guard = BasicLoginGuard(transport, settings.login_pause, timing.clock, lock)
        return BasicAccount(guard, username, password), guard
    request = token_request(username, password, settings.operation_timeout)
    login = TokenLogin(resilient, request, settings.login_pause, timing.clock, lock, timing.now)
    return TokenAccount(transport, login, username, timing.clock), login


def _login_lock(
    settings: UpstreamSettings, cache: CacheSettings, shared: Shared, workers: WorkersMemory | None
) -> LoginLock:
    """Return the lock shared with all that use the gateway's account: other workers, and gateways at the same Redis."""
    if settings.identity is UpstreamIdentity.PASSTHROUGH:
        return NestedLoginLock()
    account = "\n".join((str(settings.url), *_service_account(settings)))
    locks: list[LoginLock] = [] if workers is None else [WorkerLoginLock(workers, account)]
    store = shared.store("login")
    if store is not None:
        hashed = hashlib.blake2b(account.encode(), key=hashlib.sha256(_cache_secret(cache)).digest()).hexdigest()
        locks.append(GatewayLoginLock(store, hashed, settings.operation_timeout + 5, shared.timing))
    return NestedLoginLock(locks)


def _pool(settings: UpstreamSettings, clock: Callable[[], float]) -> Pool:
    """Return the connections to the REST API: one for each slot of the bulkhead, so that no call waits for one."""
    limits = PoolSettings(
        max_connections=settings.max_concurrency,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_age=settings.connection_max_age,
        max_body=settings.max_body,
        proxy_url=None if settings.proxy is None else settings.proxy.get_secret_value(),
    )
    return Pool(str(settings.url), limits, tls=tls_context(settings), clock=clock)


def tls_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    """Return the authorities that are trusted and the gateway's own certificate; None: those of the system, and none.

    Raises ConfigurationError where a file does not hold what it should.
    """
    if settings.ca_file is None and settings.client_cert_file is None:
        return None
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as exc:
            problem = f"GATEWAY_UPSTREAM_CA_FILE: {settings.ca_file} holds no PEM certificate."
            raise ConfigurationError([problem]) from exc
    if settings.client_cert_file is not None:
        _load_client_certificate(context, settings.client_cert_file, settings.client_key_file)
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        problem = (
            f"GATEWAY_UPSTREAM_CLIENT_CERT_FILE and GATEWAY_UPSTREAM_CLIENT_KEY_FILE: {certificate} and {key} must be "
            "a certificate and its private key, in PEM and not encrypted."
        )
        raise ConfigurationError([problem]) from exc


def _breaker_policy(settings: UpstreamSettings) -> BreakerPolicy:
    return BreakerPolicy(
        settings.breaker_failure_rate,
        settings.breaker_min_volume,
        settings.breaker_window,
        settings.breaker_pause,
        settings.read_timeout,
    )


def _cache_policy(cache: CacheSettings, refresh_timeout: float) -> CachePolicy:
    return CachePolicy(
        ttl={each.template: _seconds(each.fresh, cache) for each in READS if each.fresh is not None},
        stale_while_revalidate=cache.stale_while_revalidate,
        stale_if_error=cache.stale_if_error,
        max_entry=cache.max_entry,
        refresh_timeout=refresh_timeout,
    )


def _seconds(fresh: Freshness, cache: CacheSettings) -> float:
    return fresh.seconds if fresh.setting is None else float(getattr(cache, fresh.setting))


def _cache_secret(cache: CacheSettings) -> bytes:
    """Return the operator's secret, or a random one: then only this process reads the cache."""
    if cache.secret is None:
        return secrets.token_bytes(32)
    return cache.secret.get_secret_value().encode()


def _entry_secret(cache: CacheSettings, settings: UpstreamSettings) -> bytes:
    """Return the secret of the entries of this REST API: gateways of several may share a store and a secret."""
    return hashlib.blake2b(str(settings.url).encode(), key=hashlib.sha256(_cache_secret(cache)).digest()).digest()


def _service_account(settings: UpstreamSettings) -> tuple[str, str]:
    username, password = settings.username, settings.password
    if username is None or password is None:
        raise ValueError("Settings checks that service mode has an account")
    return username, password.get_secret_value()
