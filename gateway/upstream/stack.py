"""The order of everything a REST call passes through, from the client down to the socket."""

import hashlib
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import httpx

from gateway.clock import REAL_TIME, Timing
from gateway.errors import ConfigurationError
from gateway.settings import Settings, UpstreamAuth, UpstreamIdentity
from gateway.storage.memory import MemoryStore, shared_store
from gateway.telemetry import Counts
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.login_lock import AmongGateways, InTurn, SharedLogins
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_request
from gateway.upstream.credentials.worker_lock import AmongWorkers, WorkersMemory
from gateway.upstream.routes import CUSTOMER, MESSAGES, THREAD, TOKEN_PATH
from gateway.upstream.transports.bulkhead import ConcurrencyLimit
from gateway.upstream.transports.cache import CachePolicy, ResponseCache
from gateway.upstream.transports.circuit_breaker import BreakerPolicy, CircuitBreaker
from gateway.upstream.transports.coalescing import Coalescing
from gateway.upstream.transports.http import Connections
from gateway.upstream.transports.retry import Retry, RetryPolicy

Wrap: TypeAlias = Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]
"""Puts a layer around a transport."""


class Account(Protocol):
    """What is known of the credentials that are sent."""

    def rejected(self) -> bool:
        """Return whether the REST API rejected the gateway's own account, so that calls fail without being sent."""

    @property
    def token_age(self) -> float | None:
        """How long ago the token that is valid now was asked for, in seconds; None where there is none."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The REST side: its client, and the layers whose state operators want to know."""

    client: UpstreamClient
    retry: Retry
    breaker: CircuitBreaker
    limit: ConcurrencyLimit
    account: Account
    counts: Counts


def build_client(settings: Settings, counts: Counts | None = None, timing: Timing = REAL_TIME) -> UpstreamClient:
    """Return the REST client that ``settings`` describe. It opens no connection before its first call."""
    return build_upstream(settings, counts, timing).client


def build_upstream(
    settings: Settings,
    counts: Counts | None = None,
    timing: Timing = REAL_TIME,
    attempts: Sequence[Wrap] = (),
    workers: WorkersMemory | None = None,
) -> Upstream:
    """Return the stack; ``attempts`` see what goes over the socket. Read from the bottom up, this is a call's way:

    account       adds the credential, so that all below sees the request as it goes out; a 401 comes back to it
    coalescing    the cheapest call is the one somebody makes already
    cache         inside coalescing: a miss of many is one look-up and one call
    retry         inside the cache: a stale answer is served only when repeating did not help
    breaker       inside retry: every attempt counts, and an open circuit ends the attempts
    concurrency   inside the breaker: a call that must not be made waits for no slot; a wait between attempts takes none
    attempts      inside concurrency: what is measured and traced is the REST API's time, not the wait for a slot
    connections   the socket
    """  # noqa: D400, D415 - the list is the sentence
    counts = Counts() if counts is None else counts
    timeout = httpx.Timeout(settings.upstream_read_timeout, connect=settings.upstream_connect_timeout)
    transport: httpx.AsyncBaseTransport = _connections(settings)
    for wrap in attempts:
        transport = wrap(transport)
    limit = ConcurrencyLimit(transport, settings.upstream_max_concurrency, settings.upstream_max_queue)
    breaker = CircuitBreaker(limit, _breaker_policy(settings), timing.clock)
    transport = retry = Retry(breaker, RetryPolicy(attempts=settings.upstream_retries + 1), timing)
    if settings.cache_url is not None:
        shared = shared_store(settings, counts, timing.clock)
        store = MemoryStore(settings.cache_max_bytes, timing.clock) if shared is None else shared
        policy = _cache_policy(settings)
        transport = ResponseCache(transport, store, policy, _cache_secret(settings), counts=counts, now=timing.now)
    if settings.coalescing:
        transport = Coalescing(transport)
    transport, account = _account(
        settings, transport, retry, timeout, timing, _others(settings, counts, timing, workers)
    )
    return Upstream(
        UpstreamClient(transport, str(settings.upstream_url), timeout), retry, breaker, limit, account, counts
    )


def _account(
    settings: Settings,
    transport: httpx.AsyncBaseTransport,
    resilient: httpx.AsyncBaseTransport,
    timeout: httpx.Timeout,
    timing: Timing,
    others: SharedLogins,
) -> tuple[httpx.AsyncBaseTransport, Account]:
    """Put the credential in front; the login call itself is neither coalesced nor cached."""
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        guard = BasicLoginGuard(transport)
        return guard, guard
    username, password = _service_account(settings)
    if settings.upstream_auth is UpstreamAuth.BASIC:
        guard = BasicLoginGuard(transport, settings.upstream_login_pause, timing.clock, others)
        return BasicAccount(guard, username, password), guard
    url = str(settings.upstream_url).rstrip("/") + TOKEN_PATH
    request = token_request(url, username, password, timeout, settings.operation_timeout)
    login = TokenLogin(resilient, request, settings.upstream_login_pause, timing.clock, others)
    return TokenAccount(transport, login, username, timing.clock), login


def _others(settings: Settings, counts: Counts, timing: Timing, workers: WorkersMemory | None) -> SharedLogins:
    """Return those who use the gateway's own account as well: its other workers, and the gateways at the same Redis."""
    if settings.upstream_identity is UpstreamIdentity.PASSTHROUGH:
        return InTurn()
    account = "\n".join((str(settings.upstream_url), *_service_account(settings)))
    circles: list[SharedLogins] = [] if workers is None else [AmongWorkers(workers, account)]
    store = shared_store(settings, counts, timing.clock)
    if store is not None:
        hashed = hashlib.blake2b(account.encode(), key=hashlib.sha256(_cache_secret(settings)).digest()).hexdigest()
        circles.append(AmongGateways(store, hashed, settings.operation_timeout + 5, timing))
    return InTurn(circles)


def _connections(settings: Settings) -> Connections:
    if settings.upstream_ca_file is None:
        return Connections(settings.upstream_max_body)
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(settings.upstream_ca_file)
    except ssl.SSLError as exc:
        problem = f"GATEWAY_UPSTREAM_CA_FILE: {settings.upstream_ca_file} holds no PEM certificate."
        raise ConfigurationError([problem]) from exc
    return Connections(settings.upstream_max_body, context)


def _breaker_policy(settings: Settings) -> BreakerPolicy:
    return BreakerPolicy(
        settings.breaker_failure_rate, settings.breaker_min_volume, settings.breaker_window, settings.breaker_pause
    )


def _cache_policy(settings: Settings) -> CachePolicy:
    return CachePolicy(
        ttl={
            THREAD.template: settings.cache_ttl_thread,
            MESSAGES.template: settings.cache_ttl_messages,
            CUSTOMER.template: settings.cache_ttl_customer,
        },
        stale_while_revalidate=settings.cache_stale_while_revalidate,
        stale_if_error=settings.cache_stale_if_error,
        max_entry=settings.cache_max_entry,
        renewal_timeout=settings.operation_timeout,
    )


def _cache_secret(settings: Settings) -> bytes:
    """Return the operator's secret; a memory cache is read by this process alone, and any will do."""
    if settings.cache_secret is None:
        return secrets.token_bytes(32)
    return settings.cache_secret.get_secret_value().encode()


def _service_account(settings: Settings) -> tuple[str, str]:
    username, password = settings.upstream_username, settings.upstream_password
    if username is None or password is None:
        raise ValueError("Settings checks that service mode has an account")
    return username, password.get_secret_value()
