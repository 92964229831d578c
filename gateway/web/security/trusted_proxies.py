"""Takes the client's address from ``X-Forwarded-For``, if a proxy in ``GATEWAY_TRUSTED_PROXIES`` sent it.

A client can send this header itself, with any address. So the last address in it that is not a trusted proxy's counts:
a trusted proxy has added it for the connection it received.

On its own, so that all security measures are in this folder.
"""

import ipaddress
from typing import TypeAlias

from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.errors import ConfigurationError
from gateway.settings import HttpSettings, words

# The form of IPv4 addresses on a socket that accepts both kinds, such as one on `::` (RFC 4291, section 2.5.5.2).
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def proxy_middleware(settings: HttpSettings) -> list[Middleware]:
    """Return the middleware that replaces a trusted proxy's address by the client's; none where no proxy is trusted."""
    trusted = [form for each in words(settings.trusted_proxies) for form in _forms(_network(each))]
    # uvicorn's own is switched off in `gateway_config`: it would trust every program on 127.0.0.1.
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
    """Return whether the network holds all addresses of a kind; IPv4 ones can also have the IPv6 form."""
    return network.prefixlen == 0 or (isinstance(network, ipaddress.IPv6Network) and _MAPPED.subnet_of(network))


def _forms(network: _Network) -> list[str]:
    """Return the network in each form that its addresses can have."""
    if isinstance(network, ipaddress.IPv4Network):
        return [str(network), f"::ffff:{network.network_address}/{_MAPPED.prefixlen + network.prefixlen}"]
    return [str(network)]


def _refusal(text: str, what: str) -> ConfigurationError:
    problem = f"GATEWAY_TRUSTED_PROXIES: {text} {what}. To trust everyone would let clients choose their address."
    return ConfigurationError([problem])
