"""The composition root: builds every part of the gateway and joins them to an ASGI application."""

import ctypes
import gc
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Lifespan

from gateway.auth import Authenticator, auth_metrics, build_authenticator
from gateway.clock import REAL_TIME, Timing
from gateway.compat.starlette import Application, without_slash_redirects
from gateway.errors import ConfigurationError
from gateway.events import Bus, Changes, LocalBus, event_metrics
from gateway.events.stream import RedisBus
from gateway.events.workers import WorkersBus, WorkersRing
from gateway.execution.cost.policy import cost_policy
from gateway.execution.documents.limits import limits_of
from gateway.execution.documents.persisted import build_persisted
from gateway.execution.documents.trusted import TrustedDocuments, build_trusted
from gateway.execution.engine import Engine, EngineOptions, engine_metrics
from gateway.execution.subscriptions import Pace, SubscriptionLimits, Subscriptions
from gateway.http1 import Origin
from gateway.schema import Enumerations, FederatedSchema, SchemaOptions, build_schema
from gateway.schema.resolvers.budget import ResponseLimits
from gateway.schema.resolvers.context import ContextFactory
from gateway.schema.resolvers.enumerations import enumeration_metrics, load_enumerations
from gateway.settings import HttpSettings, InboundAuth, Settings, UpstreamIdentity, UpstreamSettings
from gateway.storage.shared import Shared, shared_by
from gateway.telemetry.metrics import LAGS, Metrics, watched_loop
from gateway.telemetry.tracing import Tracing
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials.worker_lock import WorkersMemory
from gateway.upstream.drift.comparison import known_values
from gateway.upstream.drift.sampling import DriftSampling
from gateway.upstream.metrics import upstream_metrics
from gateway.upstream.recording import Recorder, Recording, require_unused
from gateway.upstream.stack import Upstream, Wrap, build_upstream, tls_context
from gateway.upstream.transports.instrumentation import MetricsInstrumentation, TracingInstrumentation
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyMemory, KeyStore
from gateway.upstream.writes.writer import WRITE_SCOPE, WritePolicy, Writer, writer_metrics
from gateway.web.authentication import Authentication
from gateway.web.graphiql.page import GraphiQLPage
from gateway.web.graphql.decode import RequestReader, room_for, room_metrics
from gateway.web.graphql.endpoint import GraphQLEndpoint
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.explain import ExplainEndpoint
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.graphql.response import Responder
from gateway.web.graphql.streams.drain import OpenStreams
from gateway.web.graphql.streams.http import HttpStreams
from gateway.web.graphql.streams.operation import StreamRunner
from gateway.web.graphql.streams.report import StreamReporter
from gateway.web.graphql.uploads.upload_reader import build_upload_reader
from gateway.web.graphql.websocket.connection import SocketServices
from gateway.web.graphql.websocket.endpoint import WebSocketEndpoint
from gateway.web.health import Health
from gateway.web.middleware import ExactRoutes, RequestId
from gateway.web.rate_limit import NoRateLimit, RateLimit, build_rate_limit
from gateway.web.security.csrf import build_csrf_protection, cors_middleware
from gateway.web.security.trusted_proxies import proxy_middleware
from gateway.web.shutdown import Draining
from gateway.web.webhook.endpoint import build_webhook, build_webhook_rate, webhook_metrics

GRAPHQL_PATH = "/graphql"
EXPLAIN_PATH = "/graphql/explain"
_GC_THRESHOLDS = (10_000, 2, 1)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


class _Closable(Protocol):
    def aclose(self) -> Awaitable[object]: ...


def create_app(
    settings: Settings,
    timing: Timing = REAL_TIME,
    workers: WorkersMemory | None = None,
    tracing: Tracing | None = None,
    ring: WorkersRing | None = None,
    *,
    schema: FederatedSchema | None = None,
) -> Starlette:
    """Return the gateway as an ASGI application; ConfigurationError where the settings do not fit together.

    ``workers`` and ``ring`` are the memory that it shares with other workers of the same program, where there are any:
    for logins and for events. ``tracing`` is closed when the application ends. ``schema`` is what `build_schema`
    returns, with further fields beside ours. The settings decide its options. An application that mounts this one has
    to run its lifespan.
    """
    shared = shared_by(settings.cache, timing)
    metrics = None if settings.telemetry.metrics_port is None else Metrics()
    authenticator = build_authenticator(settings.auth, settings.upstream, settings.cache, shared)
    rate_limit = build_rate_limit(settings.auth.rate_limit, shared)
    instrumentation = _around_attempts(settings.upstream, metrics, tracing)
    options = _schema_options(settings)
    drift = _drift(settings, options.enumerations)
    upstream = build_upstream(settings.upstream, settings.cache, shared, instrumentation, workers, drift)
    writer = _writer(settings, upstream.client, shared, lambda thread_id: changes.announce(thread_id))  # noqa: PLW0108 - it is built later
    trusted = build_trusted(settings.graphql, settings.limits.document)
    engine = _engine(settings, _schema(options, schema), trusted, tracing)
    contexts = _contexts(settings, upstream.client, writer)
    subscriptions = _subscriptions(settings, engine, contexts, upstream, metrics, timing)
    changes = Changes(_bus(shared, ring), upstream.purge, subscriptions, counts=shared.counts, now=timing.now)
    persisted = build_persisted(settings.graphql, shared, engine.documents, trusted)
    reporter = OperationReporter(settings.telemetry.slow_operation or math.inf, metrics, tracing)
    runner = OperationRunner(engine, contexts, persisted, reporter, settings.graphql.incremental, settings.http.explain)
    streams = StreamRunner(runner, subscriptions, StreamReporter(reporter, metrics))
    open_streams = OpenStreams()
    draining = Draining(settings.server.shutdown_delay, open_streams.drain)
    endpoint, sockets = _endpoints(settings, authenticator, rate_limit, streams, open_streams, draining)
    # What is entered first is closed last: the others still use Redis and report to the tracing while they close.
    parts = [tracing, shared, upstream.client, persisted, authenticator, rate_limit, subscriptions, changes, writer]
    measured = partial(_measured, metrics, upstream, engine, writer, options.enumerations, endpoint.reader)
    lifespan = _lifespan(parts, changes, measured, draining)
    webhook = build_webhook(settings.live, changes, shared, drift)
    health = Health(upstream, draining)
    routes = [
        *health.routes(),
        *([] if endpoint.page is None else endpoint.page.routes()),
        *([] if webhook is None else [webhook.route()]),
        *([Route(EXPLAIN_PATH, _explain_endpoint(endpoint))] if settings.http.explain else []),
    ]
    app = _application(endpoint, sockets, health, routes, settings.http, lifespan)
    app.state.graphiql = endpoint.page
    app.state.metrics = metrics
    app.state.subscriptions = subscriptions
    app.state.changes = changes
    return app


def validate(settings: Settings) -> None:
    """Raise ConfigurationError with everything that `create_app` would refuse, without building an application."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: build_authenticator(settings.auth, settings.upstream, settings.cache, Shared()),
        lambda: build_rate_limit(settings.auth.rate_limit, Shared()),
        lambda: build_webhook_rate(settings.live, Shared()),
        lambda: tls_context(settings.upstream),
        lambda: require_unused(settings.upstream.record),
        lambda: build_trusted(settings.graphql, settings.limits.document),
        lambda: load_enumerations(settings.graphql.enums),
        lambda: build_upload_reader(settings.graphql, settings.limits),
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


def _schema_options(settings: Settings) -> SchemaOptions:
    enumerations = load_enumerations(settings.graphql.enums)
    return SchemaOptions(settings.graphql.incremental, settings.auth.field_scopes, enumerations)


def _schema(options: SchemaOptions, schema: FederatedSchema | None) -> FederatedSchema:
    if schema is not None:
        return schema.with_options(options)
    return build_schema(
        incremental=options.incremental, field_scopes=options.field_scopes, enumerations=options.enumerations
    )


def _drift(settings: Settings, enumerations: Enumerations) -> DriftSampling | None:
    one_in = settings.telemetry.drift_sample
    return DriftSampling(one_in, known_values(enumerations.values)) if one_in else None


def _engine(
    settings: Settings, schema: FederatedSchema, trusted: TrustedDocuments | None, tracing: Tracing | None
) -> Engine:
    graphql = settings.graphql
    return Engine(
        schema,
        EngineOptions(graphql.document_cache_size, graphql.plans, graphql.introspection, graphql.incremental),
        limits=limits_of(settings.limits),
        costs=cost_policy(settings.limits),
        trusted=trusted,
        tracing=tracing,
    )


def _endpoints(
    settings: Settings,
    authenticator: Authenticator,
    rate_limit: RateLimit | NoRateLimit,
    streams: StreamRunner,
    open_streams: OpenStreams,
    draining: Draining,
) -> tuple[GraphQLEndpoint, WebSocketEndpoint]:
    live, csrf = settings.live, build_csrf_protection(settings.http)
    services = SocketServices(
        authenticator, rate_limit, streams, open_streams, live.max_per_connection, heartbeat=live.heartbeat
    )
    endpoint = GraphQLEndpoint(
        authentication=Authentication(authenticator, csrf),
        rate_limit=rate_limit,
        reader=RequestReader(
            build_upload_reader(settings.graphql, settings.limits),
            settings.limits.body,
            settings.limits.batch,
            room_for(settings.limits.body),
        ),
        responder=Responder(streams.runner.reporter, settings.http.compress_from or math.inf),
        streams=HttpStreams(streams, open_streams, draining, live.heartbeat),
        page=_page(settings),
    )
    return endpoint, WebSocketEndpoint(services, csrf, draining)


def _explain_endpoint(endpoint: GraphQLEndpoint) -> ExplainEndpoint:
    """Return the endpoint that predicts the calls of what ``endpoint`` executes."""
    return ExplainEndpoint(
        endpoint.authentication, endpoint.rate_limit, endpoint.reader, endpoint.responder, endpoint.streams
    )


def _page(settings: Settings) -> GraphiQLPage | None:
    if not settings.http.graphiql:
        return None
    return GraphiQLPage(
        authorization=settings.auth.inbound is not InboundAuth.NONE,
        explain=settings.http.explain,
        mutations=settings.graphql.mutations,
    )


def _writer(
    settings: Settings, client: UpstreamClient, shared: Shared, announce: Callable[[str], Awaitable[object]]
) -> Writer:
    """Return what performs mutations. Without Redis only a single worker of a single gateway takes idempotency keys."""
    store: KeyStore | None = shared.store("idempotency")
    if store is None and settings.server.workers == settings.server.instances == 1:
        store = KeyMemory(shared.timing.clock)
    secret = settings.cache.secret
    keys = IdempotencyKeys(store, None if secret is None else secret.get_secret_value().encode(), shared.timing)
    has_scopes = settings.upstream.identity is UpstreamIdentity.SERVICE and settings.auth.inbound != InboundAuth.NONE
    policy = WritePolicy(settings.graphql.mutations, WRITE_SCOPE if has_scopes else None)
    return Writer(client, announce, policy=policy, keys=keys, timing=shared.timing)


def _contexts(settings: Settings, client: UpstreamClient, writer: Writer) -> ContextFactory:
    limits = settings.limits
    return ContextFactory(
        client,
        writer,
        settings.upstream.operation_timeout,
        limits.page_size,
        upstream_bytes=limits.upstream_bytes,
        response=ResponseLimits(limits.response_fields, limits.response),
    )


def _bus(shared: Shared, ring: WorkersRing | None) -> Bus:
    if shared.redis is not None:
        return RedisBus(shared.redis, shared.counts)
    return LocalBus() if ring is None else WorkersBus(ring)


def _subscriptions(
    settings: Settings,
    engine: Engine,
    contexts: ContextFactory,
    upstream: Upstream,
    metrics: Metrics | None,
    timing: Timing,
) -> Subscriptions:
    live = settings.live
    limits = SubscriptionLimits(
        live.subscriptions,
        live.max_subscriptions,
        live.max_per_caller,
        live.max_lifetime,
        max(1, settings.upstream.max_concurrency // 2),
    )

    async def purge(subject: str) -> None:
        await upstream.purge.shared([subject])
        await upstream.purge.own([subject])

    pace = Pace(live.resync_interval)
    subscriptions = Subscriptions(engine, contexts, purge, limits=limits, pace=pace, timing=timing)
    if metrics is not None:
        help_text = "From a webhook's arrival until its result was given to a subscriber's connection."
        subscriptions.lag = metrics.durations("event_delivery_seconds", help_text, ())
    return subscriptions


def _application(
    endpoint: ASGIApp,
    sockets: ASGIApp,
    health: Health,
    routes: Iterable[Route],
    settings: HttpSettings,
    lifespan: Lifespan[Starlette],
) -> Starlette:
    app = Application(
        routes=[Route(GRAPHQL_PATH, endpoint), WebSocketRoute(GRAPHQL_PATH, sockets), *routes],
        middleware=[
            *proxy_middleware(settings),
            Middleware(RequestId, draining=health.draining),
            *cors_middleware(settings),
            Middleware(ExactRoutes, routes={GRAPHQL_PATH: endpoint}, sockets={GRAPHQL_PATH: sockets}),
        ],
        lifespan=lifespan,
    )
    without_slash_redirects(app)
    return app


def _lifespan(
    parts: Iterable[_Closable | None],
    changes: Changes,
    measured: Callable[[], AbstractAsyncContextManager[None]],
    draining: Draining,
) -> Lifespan[Starlette]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in parts:
                if part is not None:
                    await stack.enter_async_context(aclosing(part))
            await stack.enter_async_context(measured())
            stack.enter_context(draining.on_signals())
            await changes.start()
            yield

    return lifespan


def _around_attempts(settings: UpstreamSettings, metrics: Metrics | None, tracing: Tracing | None) -> list[Wrap]:
    wraps: list[Wrap] = []
    if metrics is not None:
        help_text = "Duration of requests to the REST API: each attempt of a call, each login, each refresh."
        durations = metrics.durations("upstream_request_duration_seconds", help_text, ("route", "outcome"))
        wraps.append(partial(MetricsInstrumentation, durations=durations))
    if tracing is not None:
        wraps.append(partial(TracingInstrumentation, tracing=tracing, origin=Origin.of(str(settings.url))))
    if settings.record is not None:
        wraps.append(partial(Recorder, recording=Recording(settings.record)))
    return wraps


def _measured(
    metrics: Metrics | None,
    upstream: Upstream,
    engine: Engine,
    writer: Writer,
    enumerations: Enumerations,
    reader: RequestReader,
) -> AbstractAsyncContextManager[None]:
    """Register the metrics of all parts, and measure the event loop's lag while the application runs."""
    if metrics is None:
        return nullcontext()
    metrics.add(partial(upstream_metrics, upstream))
    metrics.add(partial(engine_metrics, engine))
    metrics.add(partial(writer_metrics, writer))
    metrics.add(partial(enumeration_metrics, enumerations))
    metrics.add(partial(room_metrics, reader))
    metrics.add(partial(auth_metrics, upstream.counts))
    metrics.add(partial(event_metrics, upstream.counts))
    metrics.add(partial(webhook_metrics, upstream.counts))
    help_text = "How late the event loop is, measured four times a second."
    lag = metrics.durations("event_loop_lag_seconds", help_text, (), LAGS)
    return watched_loop(lag.observe)


def prepare_memory() -> None:
    """Prepare the allocator and garbage collection of a process that serves. Call it after the start.

    Blocks of 1 MB or more (a REST body, a text) go back to the system when they are freed. By itself, glibc keeps them
    in its heap once it has freed the first (mallopt(3)): 10 to 30 MB that a worker kept after large bodies.

    Modules, schema and settings are excluded from garbage collection, which happens less often. They live as long as
    the process, and a full collection would walk over all of them: 88,000 objects, measured as a pause of 150 ms on a
    slow machine. Requests rarely leave reference cycles: CPython's default, a collection after every 700 new objects,
    finds almost nothing and costs a small query a twentieth of its time. The middle generation stays small, because one
    of 200,000 objects (one large REST body) is a pause of 30 ms. The oldest is collected often, because large
    operations leave cycles there, which took 30 MB.
    """
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 4 * 1024 * 1024)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
