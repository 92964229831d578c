"""Counts wrong credentials, and blocks further attempts from an address that sends too many.

Credentials that are already verified are still accepted from a blocked address. Otherwise one broken client could lock
out everyone behind the same address.
"""

import ipaddress
from collections.abc import Callable
from math import ceil

from cachetools import LRUCache

from gateway.auth.challenges import Reason
from gateway.auth.rate_limits import Rate
from gateway.errors import RateLimited
from gateway.telemetry import Counts, logger

_MAX_ADDRESSES = 10_000
_UNKNOWN = "unknown"


class AuthFailures:
    """Remembers which addresses are blocked. ``clock`` is monotonic, in seconds."""

    def __init__(self, rate: Rate, counts: Counts, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._counts = counts
        self._clock = clock
        self._blocked_until: LRUCache[str, float] = LRUCache(_MAX_ADDRESSES)

    def require_unblocked(self, address: str | None) -> None:
        """Raise RateLimited while the address is blocked; called before any costly verification."""
        if not self._blocked_until:
            return
        client = client_of(address)
        seconds = self._blocked_until.get(client, 0.0) - self._clock()
        if seconds > 0:
            self._counts["auth_failures_limited"] += 1
            raise _too_many(seconds)
        self._blocked_until.pop(client, None)

    async def add(self, address: str | None, reason: Reason) -> None:
        """Count a failure; raise RateLimited if it exceeds the limit."""
        self.require_unblocked(address)
        client = client_of(address)
        self._counts["auth_failures"] += 1
        self._counts[f"auth_failures: {reason}"] += 1
        logger.info("credentials were refused", extra={"fields": {"reason": reason, "address": client}})
        standing = await self._rate.take(f"address:{client}")
        if standing is not None and not standing.allowed:
            self._blocked_until[client] = self._clock() + standing.retry_after
            raise _too_many(standing.retry_after)

    async def aclose(self) -> None:
        """Close connections."""
        await self._rate.aclose()


def client_of(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network that one IPv6 subscriber gets."""
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
