"""The metrics of the REST calls, read from the layers at each scrape."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import get_args

from prometheus_client.core import Metric

from gateway.http1 import Discarded, Pool
from gateway.storage import RedisUser
from gateway.telemetry import Counts
from gateway.telemetry.metrics import Labels, counter, gauge
from gateway.upstream.call import ResponseOrigin, outcome_of
from gateway.upstream.contract import READS, ROUTES, TOKEN, WRITES
from gateway.upstream.drift.sampling import drift_metrics
from gateway.upstream.stack import Upstream
from gateway.upstream.transports.circuit_breaker import CircuitBreaker, CircuitState

_ROUTE = ("route",)
_REDIS = "redis_failures: "
# GET and POST of one template are one route for the circuit breaker, and for metrics.
_ROUTES: tuple[Labels, ...] = tuple(dict.fromkeys((each.template,) for each in ROUTES.values()))
_SUCCESSES: tuple[Labels, ...] = (
    *((each.template, origin.value, outcome_of(HTTPStatus.OK)) for each in READS for origin in ResponseOrigin),
    *(
        (each.template, ResponseOrigin.FETCHED.value, outcome_of(each.status))
        for each in WRITES
        if each is not TOKEN  # a login is no call of an operation
    ),
)


def upstream_metrics(upstream: Upstream) -> Iterator[Metric]:
    """Yield every metric of the REST calls except the durations."""
    yield counter(
        "upstream_calls",
        "REST calls of operations, by route, source of the response, and outcome.",
        ("route", "source", "outcome"),
        {(route, origin.value, outcome): n for (route, origin, outcome), n in upstream.client.calls.copy().items()},
        _SUCCESSES,
    )
    yield counter(
        "upstream_retries",
        "Retries of REST calls.",
        _ROUTE,
        {(route,): number for route, number in upstream.retry.retries.copy().items()},
        _ROUTES,
    )
    yield counter(
        "upstream_held",
        "REST calls that were refused because of an earlier 429.",
        _ROUTE,
        {(route,): number for route, number in upstream.holds.held.copy().items()},
        [each for each in _ROUTES if each != (TOKEN.template,)],
    )
    yield from _queue(upstream)
    yield from _connections(upstream.pool)
    yield from _breaker(upstream.breaker)
    yield from _cache(upstream.counts)
    yield from _account(upstream)
    if upstream.drift is not None:
        yield from drift_metrics(upstream.drift)


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
        [(reason,) for reason in get_args(Discarded)],
    )
    yield counter(
        "upstream_reconnects",
        "GETs sent again at once on a new connection, because the kept one was dead; they are no retries.",
        (),
        {(): now.reconnects},
    )


def _breaker(breaker: CircuitBreaker) -> Iterator[Metric]:
    circuits = breaker.circuits
    states = {route: CircuitState.CLOSED for (route,) in _ROUTES} | {each.name: each.state for each in circuits}
    yield gauge(
        "breaker_state",
        "1 for the current state of a route's circuit, 0 for the other states.",
        ("route", "state"),
        {(route, state.value): float(now is state) for route, now in states.items() for state in CircuitState},
    )
    yield counter(
        "breaker_opened",
        "Times that the circuit of a route has opened.",
        _ROUTE,
        {(each.name,): each.opened for each in circuits},
        _ROUTES,
    )
    yield counter(
        "breaker_refused",
        "REST calls that an open circuit rejected.",
        _ROUTE,
        {(each.name,): each.refused for each in circuits},
        _ROUTES,
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
    help_text = "Commands that Redis did not answer, by what they were for."
    yield counter("redis_failures", help_text, ("user",), users, [(user,) for user in get_args(RedisUser)])


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
