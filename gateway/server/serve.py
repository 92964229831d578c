"""Binds the port and runs the gateway on it, in one process or several."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from prometheus_client.registry import CollectorRegistry
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from gateway.app import create_app, set_aside_what_stays
from gateway.auth import build_authenticator
from gateway.errors import ConfigurationError
from gateway.server.connection import BoundedConnection
from gateway.server.listeners import bind, serve_metrics
from gateway.settings import PREFIX, InboundAuth, Settings, UpstreamIdentity, load_settings
from gateway.telemetry import configure_logging, logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing_setup import build_tracing
from gateway.telemetry.workers import WorkersCollector, serve_worker_metrics
from gateway.upstream.credentials.worker_lock import WorkersMemory

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""How the terminal and a supervisor say that it is over."""

_WORKERS_FOLDER = "GOCHAT_GATEWAY_WORKERS_FOLDER"
"""The environment variable by which workers learn where to tell their metrics; not for operators."""

_LINGER = 0.25
# A worker has this long to start, and to answer its supervisor, in seconds. A busy machine may need ten.
_WORKER_PATIENCE = 15


def serve(settings: Settings, overrides: Mapping[str, Any]) -> None:
    """Run the gateway until it is told to stop.

    ``overrides`` are the settings that came as flags; worker processes get them through the environment. Raises
    ConfigurationError before anything starts.
    """
    _exit_with_0_when_told_to_stop()
    configure_logging(settings.log_level)
    build_authenticator(settings)
    _warn_of_open_door(settings)
    with bind(settings.host, settings.port, option="--port or GATEWAY_PORT") as listener:
        logger.info("listening on http://%s:%d/graphql", *listener.getsockname()[:2])
        if settings.workers == 1:
            app = create_app(settings, tracing=build_tracing(os.environ))
            set_aside_what_stays()
            with _metrics_of(app.state.metrics, settings):
                uvicorn.Server(_serving(gateway_config(app), settings)).run(sockets=[listener])
            return
        create_app(settings)  # workers make their own: what would be wrong there is said here, once
        for name, value in overrides.items():
            if value is not None:
                os.environ[PREFIX + name.upper()] = str(value)
        config = gateway_config(partial(create_worker, WorkersMemory()), workers=settings.workers)
        supervisor = Multiprocess(_serving(config, settings), sockets=[listener])
        with _metrics_of_workers(settings):
            supervisor.run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
            sys.exit(2)


def create_worker(memory: WorkersMemory) -> ASGIApp:
    """Return the gateway for the settings in the environment: what a worker process starts with.

    Where that fails it would fail again: the worker ends with the status that ends the other workers too.
    """
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        app = create_app(settings, workers=memory, tracing=build_tracing(os.environ))
    except ConfigurationError as exc:
        for problem in exc.problems:
            logger.error("a worker cannot start: %s", problem)
        _give_up()
    except Exception:  # noqa: BLE001 - the outermost boundary of a process
        logger.exception("a worker cannot start")
        _give_up()
    set_aside_what_stays()
    if _WORKERS_FOLDER in os.environ and app.state.metrics is not None:
        serve_worker_metrics(Path(os.environ[_WORKERS_FOLDER]), app.state.metrics.registry)
    return app


def _give_up() -> NoReturn:
    """End a worker at once: its supervisor would wait for one that is ending to say that it lives."""
    sys.stderr.flush()
    os._exit(STARTUP_FAILURE)


class LingeringConnection(BoundedConnection):
    """A connection that is not closed in the very moment in which the server stops.

    A request may be on its way on an idle one, or on one that has just been accepted. It is answered, and that closes
    the connection; without one it is closed a little later.
    """

    def shutdown(self) -> None:
        """Begin the end; the server waits for it."""
        self.loop.call_later(_LINGER, super().shutdown)


def gateway_config(app: Any, *, workers: int = 1) -> uvicorn.Config:
    """Return the uvicorn configuration of the gateway; ``app`` is the application, or what makes it in each worker."""
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe every program of this machine: see `gateway.web.security.trusted_proxies`
        proxy_headers=False,
    )


def _serving(config: uvicorn.Config, settings: Settings) -> uvicorn.Config:
    """Add how connections are kept and ended where there is someone to wait for."""
    config.http = LingeringConnection
    config.timeout_keep_alive = settings.keep_alive
    config.timeout_graceful_shutdown = settings.shutdown_bound
    config.timeout_worker_healthcheck = _WORKER_PATIENCE
    return config


@contextlib.contextmanager
def _metrics_of(metrics: Metrics | None, settings: Settings) -> Iterator[None]:
    """Serve this process's metrics on their port, where there are any."""
    if metrics is None:
        yield
        return
    with _metrics_port(settings, metrics.registry):
        yield


@contextlib.contextmanager
def _metrics_of_workers(settings: Settings) -> Iterator[None]:
    """Serve the metrics of all workers on their port, where there are any."""
    if settings.metrics_port is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="gochat-gateway-") as folder:
        os.environ[_WORKERS_FOLDER] = folder
        registry = CollectorRegistry()
        registry.register(WorkersCollector(Path(folder)))
        with _metrics_port(settings, registry):
            yield


@contextlib.contextmanager
def _metrics_port(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    host, port = settings.metrics_host, settings.metrics_port or 0
    with serve_metrics(host, port, registry, option="GATEWAY_METRICS_PORT") as bound:
        logger.info("metrics on http://%s:%d/metrics", host, bound)
        yield


def ignore_further_signals() -> None:
    """Let no signal to stop kill what has stopped already.

    One may come again while the interpreter ends, when Python's handlers are gone: `uv run` passes on what the
    terminal has sent to the whole process group.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _exit_with_0_when_told_to_stop() -> None:
    """To be told to stop is no failure: uvicorn shuts down and then raises the signal again, as it was before."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        ignore_further_signals()
        sys.exit(0)

    for number in STOP_SIGNALS:
        signal.signal(number, leave)


def _warn_of_open_door(settings: Settings) -> None:
    if settings.upstream_identity is UpstreamIdentity.SERVICE and settings.inbound_auth is InboundAuth.NONE:
        logger.warning("GATEWAY_INBOUND_AUTH=none: every caller reads with the gateway's own account")
