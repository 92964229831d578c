"""Who comes with credentials that the REST API has not accepted, and makes an address wait from which too many come.

In passthrough mode the gateway cannot tell a made-up credential from a good one, and a rate by credential alone is none
for who makes up a new one each time. So a request is counted for its address as well if, when it is over, the REST API
has not answered its caller a single time. New callers with good credentials are accepted by their first answer, and
cost their address nothing, however many of them share it.
"""

from collections import OrderedDict
from collections.abc import Callable

from cachetools import LRUCache
from starlette.types import Scope

from gateway.auth import Viewer
from gateway.auth.failures import client_of
from gateway.auth.rate_limits import Rate
from gateway.upstream.call import CallReports
from gateway.web.authentication import address_of

_MOST_ACCEPTED = 50_000
_MOST_ADDRESSES = 10_000
_REFUSED_FROM = 300


class Strangers:
    """Knows who is none, and which addresses have to wait. ``clock`` is monotonic, in seconds."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._until: LRUCache[str, float] = LRUCache(_MOST_ADDRESSES)

    def wait(self, viewer: Viewer, scope: Scope) -> float:
        """Return for how many seconds a caller has to wait for their address' sake; 0 for who is known."""
        if not self._until or not self._is_strange(viewer):
            return 0.0
        address = client_of(address_of(scope))
        seconds = self._until.get(address, 0.0) - self._clock()
        if seconds <= 0:
            self._until.pop(address, None)
        return max(0.0, seconds)

    def learn(self, viewer: Viewer, reports: CallReports) -> None:
        """Note whether the REST API has answered a caller: in ``reports``, the calls of an operation."""
        if self._is_strange(viewer) and any(_is_answer(report.status) for report in reports):
            self._accepted[viewer.caller] = None
            if len(self._accepted) > _MOST_ACCEPTED:
                self._accepted.popitem(last=False)

    async def count(self, viewer: Viewer, scope: Scope, operations: int) -> None:
        """Count a request that is over, if it was a stranger's."""
        if not self._is_strange(viewer):
            return
        address = client_of(address_of(scope))
        standing = await self._rate.take(f"strangers:{address}", operations)
        if standing is not None and not (standing.allowed and standing.remaining):
            pause = standing.retry_after or self._rate.window / self._rate.limit
            self._until[address] = self._clock() + pause

    def _is_strange(self, viewer: Viewer) -> bool:
        """Return whether the caller is unknown: in service mode, nobody who was let in."""
        if viewer.authorization is None:
            return False
        if viewer.caller in self._accepted:
            self._accepted.move_to_end(viewer.caller)
            return False
        return True


def _is_answer(status: int | None) -> bool:
    return status is not None and status < _REFUSED_FROM
