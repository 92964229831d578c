"""Runs the gateway on its port, in this process or in several workers. On its own, so that `cli` only reads options."""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prometheus_client.registry import CollectorRegistry

from gateway.app import create_app, prepare_memory, validate
from gateway.compat.uvicorn import ConnectionServer
from gateway.server.accepting import ListeningSource
from gateway.server.config import serving_config
from gateway.server.listeners import bind, serve_metrics
from gateway.server.signals import exit_with_0_on_stop_signals
from gateway.server.supervisor import Supervisor
from gateway.settings import (
    PREFIX,
    InboundAuth,
    Settings,
    TelemetrySettings,
    UpstreamIdentity,
    UpstreamSettings,
    unknown_variables,
)
from gateway.telemetry import configure_logging, descriptor_problem, logger
from gateway.telemetry.descriptors import OWN_DESCRIPTORS
from gateway.telemetry.tracing_setup import build_tracing
from gateway.telemetry.workers import WorkersCollector

_STOP_MARGIN_SECONDS = 10.0  # closing connections to Redis, traces that are still to be sent


def serve(settings: Settings, overrides: Mapping[str, Any]) -> None:
    """Run the gateway until a signal stops it.

    ``overrides`` are the settings from the command line; workers get them through the environment. Raises
    ConfigurationError before anything starts. Exits with status 2 if the workers cannot start.
    """
    exit_with_0_on_stop_signals()
    configure_logging(settings.telemetry.log_level, settings.telemetry.log_format)
    for line in unknown_variables():
        logger.warning(line)
    validate(settings)
    _warn_if_callers_are_not_authenticated(settings)
    _warn_if_events_reach_one_gateway(settings)
    if problem := descriptor_problem(descriptors_needed(settings.upstream)):
        logger.warning(problem)
    with bind(settings.server.host, settings.server.port) as listener:
        if settings.server.workers > 1:
            _export(overrides)
            _serve_with_workers(settings, listener)
        else:
            _serve_alone(settings, listener)


def descriptors_needed(settings: UpstreamSettings) -> int:
    """Return how many a process may need: for as many callers as may have calls in flight or in the queue."""
    return OWN_DESCRIPTORS + 2 * settings.max_concurrency + settings.max_queue


def _serve_alone(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings, tracing=build_tracing(os.environ))
    prepare_memory()
    config = serving_config(app, settings.server, settings.shutdown_timeout)
    registry = None if app.state.metrics is None else app.state.metrics.registry
    with _metrics(settings.telemetry, registry):
        ConnectionServer(config, ListeningSource(listener)).run()


def _serve_with_workers(settings: Settings, listener: socket.socket) -> None:
    server, registry = settings.server, CollectorRegistry()
    stop_seconds = server.shutdown_delay + settings.shutdown_timeout + _STOP_MARGIN_SECONDS
    with_metrics = settings.telemetry.metrics_port is not None
    supervisor = Supervisor(listener, server.workers, stop_seconds, metrics=with_metrics)
    registry.register(WorkersCollector(lambda: supervisor.metrics_sockets))
    with _metrics(settings.telemetry, registry):
        could_start = asyncio.run(supervisor.run())
    if not could_start:
        sys.exit(2)


def _metrics(settings: TelemetrySettings, registry: CollectorRegistry | None) -> AbstractContextManager[object]:
    if settings.metrics_port is None or registry is None:
        return nullcontext()
    return serve_metrics(settings.metrics_host, settings.metrics_port, registry)


def _export(overrides: Mapping[str, Any]) -> None:
    for name, value in overrides.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)


def _warn_if_callers_are_not_authenticated(settings: Settings) -> None:
    if settings.upstream.identity is UpstreamIdentity.SERVICE and settings.auth.inbound is InboundAuth.NONE:
        does = "reads and writes" if settings.graphql.mutations else "reads"
        logger.warning("GATEWAY_INBOUND_AUTH=none: every caller %s with the gateway's own account", does)


def _warn_if_events_reach_one_gateway(settings: Settings) -> None:
    if settings.live.webhook_authorization is not None and settings.cache.redis_url is None:
        logger.warning(
            "GATEWAY_WEBHOOK_AUTHORIZATION is set without a Redis in GATEWAY_CACHE_URL: a webhook reaches only the "
            "gateway that gets it. Where there are several, let them share a Redis"
        )
