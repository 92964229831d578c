"""The two ports that are listened on: one for callers, one for the metrics.

The metrics have their own port, which callers cannot reach, and their own thread, which responds even while the event
loop is blocked.
"""

import contextlib
import socket
from collections.abc import Iterator

from prometheus_client import start_http_server
from prometheus_client.registry import CollectorRegistry

from gateway.errors import ConfigurationError
from gateway.telemetry import logger

PORT_OPTION = "--port or GATEWAY_PORT"
"""What sets the port for callers."""


def bind(host: str, port: int, *, option: str = PORT_OPTION) -> socket.socket:
    """Return a socket bound to ``port`` of ``host``; ConfigurationError that names ``option`` if the port is taken.

    Two programs that start at the same moment can both bind it; `listen` fails in one of them.
    """
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
        raise _cannot_listen(host, port, option, exc) from exc
    return listener


def listen(listener: socket.socket, backlog: int) -> None:
    """Listen; ConfigurationError if another program has begun to listen on the port since it was bound."""
    try:
        listener.listen(backlog)
    except OSError as exc:
        host, port = listener.getsockname()[:2]
        raise _cannot_listen(host, port, PORT_OPTION, exc) from exc


def url_of(listener: socket.socket) -> str:
    """Return the address of a listener as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> Iterator[int]:
    """Serve ``registry`` to Prometheus, and yield the port; ConfigurationError if the port is taken."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        raise _cannot_listen(host, port, "GATEWAY_METRICS_PORT", exc) from exc
    logger.info("metrics on %s/metrics", url_of(server.socket))
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _cannot_listen(host: str, port: int, option: str, exc: OSError) -> ConfigurationError:
    reason = exc.strerror or str(exc)
    problem = f"Cannot listen on port {port} of {host}: {reason}. Choose another with {option}; 0 picks a free one."
    return ConfigurationError([problem])
