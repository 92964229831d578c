"""Binds the port and runs the gateway on it, in one process or several."""

import os
import signal
import socket
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.auth import build_authenticator
from gateway.errors import ConfigurationError
from gateway.settings import PREFIX, InboundAuth, Settings, UpstreamIdentity
from gateway.telemetry import configure_logging, logger
from gateway.web.app import create_app, set_aside_what_stays

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""How the terminal and a supervisor say that it is over."""

_GRACEFUL_SHUTDOWN = 10


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
            app = create_app(settings)
            set_aside_what_stays()
            uvicorn.Server(gateway_config(app)).run(sockets=[listener])
            return
        for name, value in overrides.items():
            if value is not None:
                os.environ[PREFIX + name.upper()] = str(value)
        config = gateway_config("gateway.web.app:create_app_from_environment", workers=settings.workers)
        Multiprocess(config, sockets=[listener]).run()


def gateway_config(app: Any, *, workers: int = 1) -> uvicorn.Config:
    """Return the uvicorn configuration of the gateway; ``app`` is the application, or where a worker finds it."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN,
    )


def bind(host: str, port: int, *, option: str) -> socket.socket:
    """Return a socket bound to ``port`` of ``host``; ConfigurationError that names ``option`` where it is taken."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(address[0], address[1])
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address[4])
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        reason = exc.strerror or str(exc)
        problem = f"Cannot listen on port {port} of {host}: {reason}. Choose another with {option}; 0 picks a free one."
        raise ConfigurationError([problem]) from exc
    return listener


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
