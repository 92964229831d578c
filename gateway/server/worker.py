"""A worker process: the application, for connections that its supervisor accepts."""

import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from gateway.app import create_app, prepare_memory
from gateway.compat.uvicorn import CANNOT_START, ConnectionServer
from gateway.errors import ConfigurationError
from gateway.events.workers import WorkersRing
from gateway.server.config import serving_config
from gateway.server.handover import BEAT_SECONDS, HandedOver
from gateway.server.signals import STOP_SIGNALS, exit_with_0_on_stop_signals
from gateway.settings import Settings, load_settings
from gateway.telemetry import configure_logging, logger
from gateway.telemetry.tracing_setup import build_tracing
from gateway.telemetry.workers import serve_worker_metrics
from gateway.upstream.credentials.worker_lock import WorkersMemory


@dataclass(frozen=True, slots=True)
class WorkerEnds:
    """What a worker is given when it starts: its ends of the sockets, and the memory that the workers share."""

    channel: socket.socket
    metrics: socket.socket | None
    memory: WorkersMemory
    ring: WorkersRing


def run_worker(ends: WorkerEnds) -> None:
    """Serve until a signal comes, or the supervisor dies. The settings are those of the environment now."""
    exit_with_0_on_stop_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        server = _build(load_settings(), ends)
    except ConfigurationError as exc:
        for problem in exc.problems:
            logger.error("a worker cannot start: %s", problem)
        _abort()
    except Exception:  # noqa: BLE001 - the outermost boundary of a process
        logger.exception("a worker cannot start")
        _abort()
    server.run()


def _build(settings: Settings, ends: WorkerEnds) -> ConnectionServer:
    configure_logging(settings.telemetry.log_level, settings.telemetry.log_format, shared=True)
    app = create_app(settings, workers=ends.memory, tracing=build_tracing(os.environ), ring=ends.ring)
    if ends.metrics is not None and app.state.metrics is not None:
        serve_worker_metrics(ends.metrics, app.state.metrics.registry)
    prepare_memory()
    source = HandedOver(ends.channel)
    config = serving_config(app, settings.server, settings.shutdown_timeout)
    config.callback_notify, config.timeout_notify = source.alive, BEAT_SECONDS
    return ConnectionServer(config, source)


def _abort() -> NoReturn:
    sys.stderr.flush()
    os._exit(CANNOT_START)
