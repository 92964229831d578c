"""The metrics of the REST calls, read from the layers at each scrape."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.http1 import Pool
from gateway.telemetry import Counts
from gateway.telemetry.metrics import Labels, counter, gauge
from gateway.upstream.stack import Upstream
from gateway.upstream.transports.circuit_breaker import CircuitBreaker, CircuitState

_ROUTE = ("route",)
_REDIS = "redis_failures: "


def upstream_metrics(upstream: Upstream) -> Iterator[Metric]:
    """Yield every metric of the REST calls except the durations."""
    yield counter(
        "upstream_calls",
        "REST calls of operations, by route, source of the response, and outcome.",
        ("route", "source", "outcome"),
        {(route, origin.value, outcome): n for (route, origin, outcome), n in upstream.client.calls.copy().items()},
    )
    yield counter(
        "upstream_retries",
        "Retries of REST calls.",
        _ROUTE,
        {(route,): number for route, number in upstream.retry.retries.copy().items()},
    )
    yield counter(
        "upstream_held",
        "REST calls that were refused because of an earlier 429.",
        _ROUTE,
        {(route,): number for route, number in upstream.holds.held.copy().items()},
    )
    yield from _queue(upstream)
    yield from _connections(upstream.pool)
    yield from _breaker(upstream.breaker)
    yield from _cache(upstream.counts)
    yield from _account(upstream)


def _queue(upstream: Upstream) -> Iterator[Metric]:
    bulkhead = upstream.bulkhead
    yield gauge("upstream_in_flight", "REST calls in flight.", (), {(): bulkhead.in_flight})
    yield gauge("upstream_queued", "REST calls that wait for a slot.", (), {(): bulkhead.queued})
    yield counter("upstream_shed", "REST calls that were refused because too many waited.", (), {(): bulkhead.shed})


def _connections(pool: Pool) -> Iterator[Metric]:
    now = pool.state()
    yield gauge(
        "upstream_connections",
        "Open connections to the REST API, `idle` or `busy`.",
        ("state",),
        {("idle",): now.idle, ("busy",): max(0, now.open - now.idle)},
    )
    yield counter(
        "upstream_connections_discarded",
        "Connections to the REST API that the gateway closed or lost, by reason.",
        ("reason",),
        {(reason,): number for reason, number in now.discarded.items()},
    )
    yield counter(
        "upstream_reconnects",
        "GETs sent again at once on a new connection, because the kept one was dead; they are no retries.",
        (),
        {(): now.reconnects},
    )


def _breaker(breaker: CircuitBreaker) -> Iterator[Metric]:
    circuits = breaker.circuits
    yield gauge(
        "breaker_state",
        "1 for the current state of a route's circuit, 0 for the other states.",
        ("route", "state"),
        {(each.name, state.value): float(each.state is state) for each in circuits for state in CircuitState},
    )
    yield counter(
        "breaker_opened",
        "Times that the circuit of a route has opened.",
        _ROUTE,
        {(each.name,): each.opened for each in circuits},
    )
    yield counter(
        "breaker_refused",
        "REST calls that an open circuit rejected.",
        _ROUTE,
        {(each.name,): each.refused for each in circuits},
    )


def _cache(counts: Counts) -> Iterator[Metric]:
    results = {"hit": "cache_cached", "stale": "cache_stale", "miss": "cache_missed"}
    yield counter(
        "cache_lookups",
        "Look-ups in the response cache, by result.",
        ("result",),
        {(result,): counts[name] for result, name in results.items()},
    )
    yield counter(
        "cache_renewals_failed",
        "Background refreshes of stale responses that failed.",
        (),
        {(): counts["cache_renewals_failed"]},
    )
    yield counter(
        "cache_store_failures",
        "Times that Redis did not answer the cache or the login lock. redis_failures_total counts every user.",
        (),
        {(): counts[f"{_REDIS}cache"] + counts[f"{_REDIS}login"]},
    )
    users: dict[Labels, float] = {
        (name.removeprefix(_REDIS),): n for name, n in counts.copy().items() if name.startswith(_REDIS)
    }
    yield counter("redis_failures", "Commands that Redis did not answer, by what they were for.", ("user",), users)


def _account(upstream: Upstream) -> Iterator[Metric]:
    age = upstream.account.token_age
    yield gauge(
        "token_age_seconds",
        "Age of the current token; absent without a valid one.",
        (),
        {} if age is None else {(): age},
    )
    yield gauge(
        "account_rejected",
        "1 while the REST API's rejection of the gateway's own account is remembered.",
        (),
        {(): float(upstream.account.rejected())},
    )
