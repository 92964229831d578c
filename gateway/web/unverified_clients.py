"""Limits requests with credentials that the REST API has not accepted, by the client's address.

In passthrough mode the gateway cannot verify credentials, and a limit per credential does not stop a client that
invents a new one for each request. So a request also counts for its address if, when it is over, the REST API has
never answered its caller. The first answer verifies a new caller with valid credentials, so that callers behind the
same address do not use up its limit.
"""

from collections.abc import Callable

from cachetools import LRUCache

from gateway.auth import Viewer
from gateway.auth.failures import client_of
from gateway.auth.rate_limits import Rate
from gateway.upstream.call import CallReports

_MAX_VERIFIED = 50_000
_MAX_ADDRESSES = 10_000
_FIRST_FAILURE_STATUS = 300


class UnverifiedClients:
    """Knows the verified callers, and which addresses are blocked. ``clock`` is monotonic, in seconds."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._verified: LRUCache[str, bool] = LRUCache(_MAX_VERIFIED)
        self._blocked_until: LRUCache[str, float] = LRUCache(_MAX_ADDRESSES)

    def wait(self, viewer: Viewer, address: str | None) -> float:
        """Return for how many seconds the address is blocked; 0 for a verified caller."""
        if not self._blocked_until or self._is_verified(viewer):
            return 0.0
        client = client_of(address)
        seconds = self._blocked_until.get(client, 0.0) - self._clock()
        if seconds <= 0:
            self._blocked_until.pop(client, None)
        return max(0.0, seconds)

    def record(self, viewer: Viewer, reports: CallReports) -> None:
        """Remember the caller as verified if the REST API has answered one of an operation's calls."""
        if not self._is_verified(viewer) and any(_is_success(report.status) for report in reports):
            self._verified[viewer.caller] = True

    async def count(self, viewer: Viewer, address: str | None, operations: int) -> None:
        """Count a request that is over, if its caller is not verified."""
        if self._is_verified(viewer):
            return
        client = client_of(address)
        standing = await self._rate.take(f"unverified:{client}", operations)
        if standing is not None and not (standing.allowed and standing.remaining):
            pause = standing.retry_after or self._rate.window / self._rate.limit
            self._blocked_until[client] = self._clock() + pause

    def _is_verified(self, viewer: Viewer) -> bool:
        """Return whether the caller is verified: in service mode, every authenticated one."""
        return viewer.authorization is None or self._verified.get(viewer.caller, False)


def _is_success(status: int | None) -> bool:
    return status is not None and status < _FIRST_FAILURE_STATUS
