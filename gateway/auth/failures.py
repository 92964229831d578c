"""Counts wrong credentials, and makes an address wait from which too many come.

It waits for nothing but further tries: credentials that are known to be right are let in from there as well, or one
broken client could keep out everyone who shares its address.
"""

import ipaddress
from collections.abc import Callable
from math import ceil

from cachetools import LRUCache

from gateway.auth.rate_limits import Rate
from gateway.errors import RateLimited
from gateway.telemetry import Counts, logger

_MOST_ADDRESSES = 10_000
_UNKNOWN = "unknown"


class AuthFailures:
    """Knows which addresses have to wait. ``clock`` is monotonic, in seconds."""

    def __init__(self, rate: Rate, counts: Counts, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._counts = counts
        self._clock = clock
        self._until: LRUCache[str, float] = LRUCache(_MOST_ADDRESSES)

    def require_none(self, address: str | None) -> None:
        """Raise RateLimited while the address has to wait; this comes before whatever costs time."""
        if not self._until:
            return
        client = client_of(address)
        seconds = self._until.get(client, 0.0) - self._clock()
        if seconds > 0:
            self._counts["auth_failures_limited"] += 1
            raise _too_many(seconds)
        self._until.pop(client, None)

    async def add(self, address: str | None, reason: str) -> None:
        """Note a failure; raise RateLimited where it is one too many."""
        self.require_none(address)
        client = client_of(address)
        self._counts["auth_failures"] += 1
        self._counts[f"auth_failures: {reason}"] += 1
        logger.info("credentials were refused", extra={"fields": {"reason": reason, "address": client}})
        standing = await self._rate.take(f"address:{client}")
        if standing is not None and not standing.allowed:
            self._until[client] = self._clock() + standing.retry_after
            raise _too_many(standing.retry_after)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._rate.aclose()


def client_of(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that a subscriber gets of IPv6."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return _UNKNOWN
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((int(ip), 64), strict=False))


def _too_many(seconds: float) -> RateLimited:
    message = "Too many wrong credentials came from this address: it has to wait."
    return RateLimited(message, retry_after=float(ceil(seconds)))
