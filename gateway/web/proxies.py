"""Whose word is taken for where a request comes from: that of the proxies in ``GATEWAY_TRUSTED_PROXIES``, or nobody's.

A client can send ``X-Forwarded-For`` as well, with whatever address it likes. So of the addresses in it the last one
counts that is no trusted proxy's: the one that a trusted proxy has seen with its own eyes.
"""

import ipaddress

from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.errors import ConfigurationError
from gateway.settings import Settings, words


def proxy_middleware(settings: Settings) -> list[Middleware]:
    """Return what puts the client's address in the place of a trusted proxy's; nothing where none is trusted."""
    trusted = words(settings.trusted_proxies)
    for each in trusted:
        _require_network(each)
    # uvicorn does it by itself for 127.0.0.1, and in a process where that is not asked for: see `gateway_config`.
    return [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)] if trusted else []


def _require_network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        problem = (
            f"GATEWAY_TRUSTED_PROXIES: {text} is neither an address nor a network (`10.0.0.5`, `10.1.0.0/16`). "
            "To believe everyone would let clients choose their address."
        )
        raise ConfigurationError([problem]) from exc
