"""The configuration of uvicorn."""

from typing import Any

import uvicorn

from gateway.server.connection import BoundedConnection, LingeringConnection, SocketConnection
from gateway.settings import ServerSettings

MAX_MESSAGE_BYTES = 64 * 1024
"""The largest message that a WebSocket may send; a larger one closes it with 1009 (RFC 6455, section 7.4.1)."""


def gateway_config(app: Any, **options: Any) -> uvicorn.Config:
    """Return the configuration for ``app``; ``options`` are uvicorn's, for what differs from that of every gateway."""
    chosen = {
        "http": BoundedConnection,
        "ws": SocketConnection,
        "ws_max_size": MAX_MESSAGE_BYTES,
        # An unanswered ping of uvicorn's closes with 1011, which clients take as final: the gateway sends its own.
        "ws_ping_interval": None,
        "ws_per_message_deflate": False,  # it would take a connection 8 KB more, and answers are small
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
