"""Runs the gateway on its port, in this process or in several workers. On its own, so that `cli` only reads options."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import uvicorn

from gateway.app import create_app, freeze_startup_objects, validate
from gateway.server.config import serving_config
from gateway.server.listeners import bind, serve_metrics
from gateway.server.signals import exit_with_0_on_stop_signals
from gateway.server.supervisor import serve_with_workers
from gateway.settings import PREFIX, InboundAuth, Settings, UpstreamIdentity
from gateway.telemetry import configure_logging, logger
from gateway.telemetry.tracing_setup import build_tracing


def serve(settings: Settings, overrides: Mapping[str, Any]) -> None:
    """Run the gateway until a signal stops it.

    ``overrides`` are the settings from the command line; workers get them through the environment. Raises
    ConfigurationError before anything starts.
    """
    exit_with_0_on_stop_signals()
    configure_logging(settings.telemetry.log_level)
    validate(settings)
    _warn_if_callers_are_not_authenticated(settings)
    with (
        bind(settings.server.host, settings.server.port, option="--port or GATEWAY_PORT") as listener,
        ExitStack() as metrics,
    ):
        logger.info("listening on http://%s:%d/graphql", *listener.getsockname()[:2])
        if settings.server.workers > 1:
            _export(overrides)
            serve_with_workers(settings, listener)
            return
        app = create_app(settings, tracing=build_tracing(os.environ))
        freeze_startup_objects()
        if settings.telemetry.metrics_port is not None:
            registry = app.state.metrics.registry
            host, port = settings.telemetry.metrics_host, settings.telemetry.metrics_port
            metrics.enter_context(serve_metrics(host, port, registry))
        uvicorn.Server(serving_config(app, settings.server, settings.shutdown_timeout)).run(sockets=[listener])


def _export(overrides: Mapping[str, Any]) -> None:
    for name, value in overrides.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)


def _warn_if_callers_are_not_authenticated(settings: Settings) -> None:
    if settings.upstream.identity is UpstreamIdentity.SERVICE and settings.auth.inbound is InboundAuth.NONE:
        logger.warning("GATEWAY_INBOUND_AUTH=none: every caller reads with the gateway's own account")
