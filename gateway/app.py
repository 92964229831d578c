"""The one place where everything is built and joined."""

import gc
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.auth import auth_metrics, build_authenticator
from gateway.clock import REAL_TIME, Timing
from gateway.compat.starlette import without_slash_redirects
from gateway.execution.cost.policy import cost_policy
from gateway.execution.documents.limits import limits_of
from gateway.execution.documents.persisted import build_persisted
from gateway.execution.documents.trusted import build_trusted
from gateway.execution.engine import Engine, engine_metrics
from gateway.schema import build_schema
from gateway.schema.resolvers.context import ContextFactory
from gateway.settings import Settings
from gateway.telemetry import Counts
from gateway.telemetry.metrics import LAGS, Metrics, watched_loop
from gateway.telemetry.tracing import Tracing
from gateway.upstream.credentials.worker_lock import WorkersMemory
from gateway.upstream.metrics import upstream_metrics
from gateway.upstream.stack import Upstream, Wrap, build_upstream
from gateway.upstream.transports.instrumentation import MetricsInstrumentation, TracingInstrumentation
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.endpoint import GraphQLEndpoint
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.health import Health
from gateway.web.middleware import ExactRoutes, RequestId
from gateway.web.rate_limit import build_caller_rate
from gateway.web.security.csrf import build_cross_site, cors_middleware
from gateway.web.security.trusted_proxies import proxy_middleware
from gateway.web.shutdown import Draining

GRAPHQL_PATH = "/graphql"
_GENERATIONS = (10_000, 2, 10)


def create_app(
    settings: Settings,
    timing: Timing = REAL_TIME,
    workers: WorkersMemory | None = None,
    tracing: Tracing | None = None,
) -> Starlette:
    """Return the gateway as an ASGI application; ConfigurationError where the settings do not fit together.

    ``workers`` is the memory that it shares with other workers of the same program, where there are any. ``tracing`` is
    closed when the application ends.
    """
    counts = Counts()
    metrics = None if settings.metrics_port is None else Metrics()
    authenticator = build_authenticator(settings, counts, timing.clock, timing.now)
    rate = build_caller_rate(settings, counts, timing)
    upstream = build_upstream(settings, counts, timing, _around_attempts(metrics, tracing), workers)
    client = upstream.client
    draining = Draining(settings.shutdown_delay)
    page = GraphiQLPage(settings) if settings.graphiql else None
    trusted = build_trusted(settings)
    engine = Engine(
        build_schema(incremental=settings.incremental, field_scopes=settings.field_scopes),
        document_cache_size=settings.document_cache_size,
        limits=limits_of(settings),
        costs=cost_policy(settings),
        trusted=trusted,
        plans=settings.plans,
        introspection=settings.introspection,
        incremental=settings.incremental,
        tracing=tracing,
    )
    persisted = build_persisted(settings, engine.documents, timing, trusted)
    endpoint = GraphQLEndpoint(
        engine=engine,
        authenticator=authenticator,
        contexts=ContextFactory(client, settings.operation_timeout, settings.max_page_size),
        max_body=settings.max_body,
        persisted=persisted,
        reporter=OperationReporter(settings.slow_operation or math.inf, metrics, tracing),
        max_batch=settings.max_batch,
        incremental=settings.incremental,
        compress_from=settings.compress_from or math.inf,
        page=page,
        cross_site=build_cross_site(settings),
        rate=rate,
        explain=settings.explain,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        measured = _measured(metrics, upstream, engine)
        traced = nullcontext() if tracing is None else aclosing(tracing)
        async with traced, client, aclosing(persisted), aclosing(authenticator), aclosing(rate), measured:
            with draining.on_signals():
                yield

    graphql: ASGIApp = endpoint
    app = Starlette(
        routes=[
            Route(GRAPHQL_PATH, graphql),
            *Health(upstream, draining).routes(),
            *([page.route()] if page else []),
        ],
        middleware=[
            *proxy_middleware(settings),
            Middleware(RequestId, draining=draining),
            *cors_middleware(settings),
            Middleware(ExactRoutes, routes={GRAPHQL_PATH: graphql}),
        ],
        lifespan=lifespan,
    )
    without_slash_redirects(app)
    app.state.graphiql = page
    app.state.metrics = metrics
    return app


def _around_attempts(metrics: Metrics | None, tracing: Tracing | None) -> list[Wrap]:
    wraps: list[Wrap] = []
    if metrics is not None:
        help_text = "How long requests to the REST API took: each attempt of a call, each login, each renewal."
        durations = metrics.durations("upstream_request_duration_seconds", help_text, ("route", "outcome"))
        wraps.append(partial(MetricsInstrumentation, durations=durations))
    if tracing is not None:
        wraps.append(partial(TracingInstrumentation, tracing=tracing))
    return wraps


def _measured(metrics: Metrics | None, upstream: Upstream, engine: Engine) -> AbstractAsyncContextManager[None]:
    """Let what is counted anyway be scraped, and measure the event loop meanwhile."""
    if metrics is None:
        return nullcontext()
    metrics.add(partial(upstream_metrics, upstream))
    metrics.add(partial(engine_metrics, engine))
    metrics.add(partial(auth_metrics, upstream.counts))
    help_text = "How much later than it should the event loop came round."
    lag = metrics.durations("event_loop_lag_seconds", help_text, (), LAGS)
    return watched_loop(lag.observe)


def set_aside_what_stays() -> None:
    """Take modules, schema and settings out of the garbage collector's sight, once everything is built.

    They stay as long as the process, and a full collection would walk over all of them: 88,000 objects, measured as a
    pause of 150 ms on a slow machine. And what a request leaves is seldom a circle: to look for some after every 700
    new objects, CPython's default, finds next to nothing and costs a small query a twentieth of its time. The middle
    generation is kept small, for one of 200,000 objects, of a single large document, is a pause of 30 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GENERATIONS)
