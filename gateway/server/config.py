"""The configuration of uvicorn."""

from typing import Any

import uvicorn

from gateway.server.connection import BoundedConnection, LingeringConnection
from gateway.settings import ServerSettings


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
    """Return the configuration of a gateway that runs until a signal stops it; ``shutdown_timeout`` is in seconds."""
    return gateway_config(
        app,
        http=LingeringConnection,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=shutdown_timeout,
    )
