"""Whose word is taken for where a request comes from: that of the proxies in ``GATEWAY_TRUSTED_PROXIES``, or nobody's.

A client can send ``X-Forwarded-For`` as well, with whatever address it likes. So of the addresses in it the last one
counts that is no trusted proxy's: the one that a trusted proxy has seen with its own eyes.
"""

import ipaddress
from typing import TypeAlias

from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.errors import ConfigurationError
from gateway.settings import HttpSettings, words

# How an IPv4 address looks to a socket that takes both kinds, as one on `::` does (RFC 4291, section 2.5.5.2).
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def proxy_middleware(settings: HttpSettings) -> list[Middleware]:
    """Return what puts the client's address in the place of a trusted proxy's; nothing where none is trusted."""
    trusted = [form for each in words(settings.trusted_proxies) for form in _forms(_network(each))]
    # uvicorn does it by itself for 127.0.0.1, and in a process where that is not asked for: see `gateway_config`.
    return [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)] if trusted else []


_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> _Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as exc:
        raise _refusal(text, "is neither an address nor a network (`10.0.0.5`, `10.1.0.0/16`)") from exc
    if _is_everyone(network):
        raise _refusal(text, "is everyone")
    return network


def _is_everyone(network: _Network) -> bool:
    """Return whether it holds all addresses of a kind; IPv4 clients may also come as IPv6."""
    return network.prefixlen == 0 or (isinstance(network, ipaddress.IPv6Network) and _MAPPED.subnet_of(network))


def _forms(network: _Network) -> list[str]:
    """Return a network in each form in which its addresses may appear."""
    if isinstance(network, ipaddress.IPv4Network):
        return [str(network), f"::ffff:{network.network_address}/{_MAPPED.prefixlen + network.prefixlen}"]
    return [str(network)]


def _refusal(text: str, what: str) -> ConfigurationError:
    problem = f"GATEWAY_TRUSTED_PROXIES: {text} {what}. To believe everyone would let clients choose their address."
    return ConfigurationError([problem])
