"""The one place where everything is built and joined."""

import gc
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.auth import auth_metrics, build_authenticator
from gateway.clock import REAL_TIME, Timing
from gateway.compat.starlette import without_slash_redirects
from gateway.errors import ConfigurationError
from gateway.execution.cost.policy import cost_policy
from gateway.execution.documents.limits import limits_of
from gateway.execution.documents.persisted import build_persisted
from gateway.execution.documents.trusted import TrustedDocuments, build_trusted
from gateway.execution.engine import Engine, engine_metrics
from gateway.schema import build_schema
from gateway.schema.resolvers.context import ContextFactory
from gateway.settings import HttpSettings, InboundAuth, Settings
from gateway.telemetry import Counts
from gateway.telemetry.metrics import LAGS, Metrics, watched_loop
from gateway.telemetry.tracing import Tracing
from gateway.upstream.credentials.worker_lock import WorkersMemory
from gateway.upstream.metrics import upstream_metrics
from gateway.upstream.stack import Upstream, Wrap, build_upstream, tls_context
from gateway.upstream.transports.instrumentation import MetricsInstrumentation, TracingInstrumentation
from gateway.web.authentication import Authentication
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.decode import RequestReader
from gateway.web.graphql.endpoint import GraphQLEndpoint
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.graphql.response import Responder
from gateway.web.health import Health
from gateway.web.middleware import ExactRoutes, RequestId
from gateway.web.rate_limit import build_rate_limit
from gateway.web.security.csrf import build_csrf_protection, cors_middleware
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
    metrics = None if settings.telemetry.metrics_port is None else Metrics()
    authenticator = build_authenticator(
        settings.auth, settings.upstream, settings.cache, counts, timing.clock, timing.now
    )
    rate_limit = build_rate_limit(settings.auth.rate_limit, settings.cache, counts, timing)
    instrumentation = _around_attempts(metrics, tracing)
    upstream = build_upstream(settings.upstream, settings.cache, counts, timing, instrumentation, workers)
    draining = Draining(settings.server.shutdown_delay)
    page = _page(settings)
    trusted = build_trusted(settings.graphql, settings.limits.document)
    engine = _engine(settings, trusted, tracing)
    persisted = build_persisted(settings.graphql, settings.cache, engine.documents, timing, trusted)
    reporter = OperationReporter(settings.telemetry.slow_operation or math.inf, metrics, tracing)
    contexts = ContextFactory(upstream.client, settings.upstream.operation_timeout, settings.limits.page_size)
    endpoint: ASGIApp = GraphQLEndpoint(
        authentication=Authentication(authenticator, build_csrf_protection(settings.http)),
        rate_limit=rate_limit,
        reader=RequestReader(settings.limits.body, settings.limits.batch),
        runner=OperationRunner(
            engine, contexts, persisted, reporter, settings.graphql.incremental, settings.http.explain
        ),
        responder=Responder(reporter, settings.http.compress_from or math.inf),
        page=page,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in (tracing, upstream.client, persisted, authenticator, rate_limit):
                if part is not None:
                    await stack.enter_async_context(aclosing(part))
            await stack.enter_async_context(_measured(metrics, upstream, engine))
            stack.enter_context(draining.on_signals())
            yield

    app = Starlette(
        routes=[Route(GRAPHQL_PATH, endpoint), *Health(upstream, draining).routes(), *([page.route()] if page else [])],
        middleware=_middleware(settings.http, draining, endpoint),
        lifespan=lifespan,
    )
    without_slash_redirects(app)
    app.state.graphiql = page
    app.state.metrics = metrics
    return app


def validate(settings: Settings) -> None:
    """Raise ConfigurationError with everything that `create_app` would refuse, without building an application."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: build_authenticator(settings.auth, settings.upstream, settings.cache),
        lambda: build_rate_limit(settings.auth.rate_limit, settings.cache, Counts(), REAL_TIME),
        lambda: tls_context(settings.upstream.ca_file),
        lambda: build_trusted(settings.graphql, settings.limits.document),
        lambda: proxy_middleware(settings.http),
    )
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigurationError as exc:
            problems += exc.problems
    if problems:
        raise ConfigurationError(problems)


def _engine(settings: Settings, trusted: TrustedDocuments | None, tracing: Tracing | None) -> Engine:
    graphql = settings.graphql
    return Engine(
        build_schema(incremental=graphql.incremental, field_scopes=settings.auth.field_scopes),
        document_cache_size=graphql.document_cache_size,
        limits=limits_of(settings.limits),
        costs=cost_policy(settings.limits),
        trusted=trusted,
        plans=graphql.plans,
        introspection=graphql.introspection,
        incremental=graphql.incremental,
        tracing=tracing,
    )


def _page(settings: Settings) -> GraphiQLPage | None:
    if not settings.http.graphiql:
        return None
    return GraphiQLPage(authorization=settings.auth.inbound is not InboundAuth.NONE, explain=settings.http.explain)


def _middleware(settings: HttpSettings, draining: Draining, endpoint: ASGIApp) -> list[Middleware]:
    return [
        *proxy_middleware(settings),
        Middleware(RequestId, draining=draining),
        *cors_middleware(settings),
        Middleware(ExactRoutes, routes={GRAPHQL_PATH: endpoint}),
    ]


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
