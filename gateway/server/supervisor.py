"""Several worker processes on one port, supervised by uvicorn. The metrics of all of them are on one port as well."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client.registry import CollectorRegistry
from starlette.types import ASGIApp

from gateway.app import create_app, freeze_startup_objects
from gateway.compat.uvicorn import abort_worker, run_workers
from gateway.errors import ConfigurationError
from gateway.events.workers import WorkersRing
from gateway.server.config import serving_config
from gateway.server.listeners import serve_metrics
from gateway.settings import Settings, TelemetrySettings, load_settings
from gateway.telemetry import configure_logging, logger
from gateway.telemetry.tracing_setup import build_tracing
from gateway.telemetry.workers import WorkersCollector, serve_worker_metrics
from gateway.upstream.credentials.worker_lock import WorkersMemory


def serve_with_workers(settings: Settings, listener: socket.socket) -> None:
    """Run the workers until a signal stops them; exit with status 2 if they cannot start."""
    with _worker_metrics(settings.telemetry) as folder:
        create = partial(create_worker, WorkersMemory(), WorkersRing(), folder)
        if run_workers(serving_config(create, settings.server, settings.shutdown_timeout), listener):
            sys.exit(2)


def create_worker(memory: WorkersMemory, ring: WorkersRing, metrics_folder: Path | None) -> ASGIApp:
    """Return the application of a worker process, for the settings in the environment.

    An error here would happen in every worker, so it ends the supervisor and the other workers.
    """
    try:
        settings = load_settings()
        configure_logging(settings.telemetry.log_level)
        app = create_app(settings, workers=memory, tracing=build_tracing(os.environ), ring=ring)
    except ConfigurationError as exc:
        for problem in exc.problems:
            logger.error("a worker cannot start: %s", problem)
        abort_worker()
    except Exception:  # noqa: BLE001 - the outermost boundary of a process
        logger.exception("a worker cannot start")
        abort_worker()
    freeze_startup_objects()
    if metrics_folder is not None and app.state.metrics is not None:
        serve_worker_metrics(metrics_folder, app.state.metrics.registry)
    return app


@contextmanager
def _worker_metrics(settings: TelemetrySettings) -> Iterator[Path | None]:
    """Serve the metrics of all workers, and yield the folder for their sockets; None where metrics are off."""
    if settings.metrics_port is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gochat-gateway-") as folder:
        registry = CollectorRegistry()
        registry.register(WorkersCollector(Path(folder)))
        with serve_metrics(settings.metrics_host, settings.metrics_port, registry):
            yield Path(folder)
