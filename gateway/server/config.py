"""The configuration of uvicorn."""

from typing import Any

import uvicorn

from gateway.server.connection import BoundedConnection, LingeringConnection
from gateway.settings import ServerSettings

WORKER_START_TIMEOUT_SECONDS = 15
"""The longest that a worker may take to start, or to respond to its supervisor. A busy machine may need ten."""


def gateway_config(app: Any, **options: Any) -> uvicorn.Config:
    """Return the configuration for ``app``; ``options`` are uvicorn's, for what differs from that of every gateway."""
    chosen = {
        "http": BoundedConnection,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # uvicorn would trust every program on this machine: see `gateway.web.security.trusted_proxies`
        "proxy_headers": False,
        **options,
    }
    return uvicorn.Config(app, **chosen)


def serving_config(app: Any, settings: ServerSettings, shutdown_timeout: int) -> uvicorn.Config:
    """Return the configuration of a gateway that runs until a signal stops it.

    ``shutdown_timeout`` is in seconds. With several workers ``app`` is a function without arguments, which each of
    them calls for its application.
    """
    return gateway_config(
        app,
        factory=settings.workers > 1,
        workers=settings.workers,
        http=LingeringConnection,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=shutdown_timeout,
        timeout_worker_healthcheck=WORKER_START_TIMEOUT_SECONDS,
    )
