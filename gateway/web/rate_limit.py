"""How many operations a caller may ask for, and how an answer says so (IETF draft RateLimit header fields)."""

from collections.abc import Mapping

from starlette.types import Scope

from gateway.auth import EVERYONE, Viewer
from gateway.auth.failures import client_of
from gateway.auth.rate_limits import Rate, Standing
from gateway.clock import Timing
from gateway.errors import RateLimited
from gateway.settings import CacheSettings
from gateway.telemetry import Counts
from gateway.upstream.call import CallReports
from gateway.web.authentication import address_of, retry_after
from gateway.web.http_error import HttpError
from gateway.web.unverified_clients import Strangers

RawHeaders = list[tuple[bytes, bytes]]

_NO_HEADERS: Mapping[str, str] = {}


class CallerRate:
    """Counts the operations of each caller; of each address, where callers are not told apart or not known yet."""

    def __init__(self, rate: Rate, counts: Counts, strangers: Strangers) -> None:
        self._rate = rate
        self._strangers = strangers
        self._counts = counts
        self._policy = f'"caller";q={rate.limit};w={rate.window}'

    async def take(self, viewer: Viewer, scope: Scope) -> RawHeaders:
        """Count an operation, and return the headers that tell how the caller stands; HttpError 429 if too many."""
        seconds = self._strangers.wait(viewer, scope)
        if seconds:
            raise self._too_many("Too many requests of callers that the REST API does not know.", seconds)
        return self._headers(await self._rate.take(_name(viewer, scope)), 0)

    async def take_rest(self, viewer: Viewer, scope: Scope, operations: int) -> RawHeaders:
        """Count the operations of a batch but the first, which is counted already.

        A batch larger than the limit takes all there ever is. Where it is too many, the wait is for the whole batch,
        for its first operation is counted again when it comes again.
        """
        rest = min(operations, self._rate.limit) - 1
        return self._headers(await self._rate.take(_name(viewer, scope), rest), self._rate.window / self._rate.limit)

    def _headers(self, standing: Standing | None, further_wait: float) -> RawHeaders:
        if standing is None:
            return []
        headers = {"ratelimit-policy": self._policy, "ratelimit": _told(standing)}
        if standing.allowed:
            return [(name.encode(), value.encode()) for name, value in headers.items()]
        raise self._too_many("Too many operations for this caller.", standing.retry_after + further_wait, headers)

    def _too_many(self, message: str, seconds: float, headers: Mapping[str, str] = _NO_HEADERS) -> HttpError:
        self._counts["rate_limited"] += 1
        wait = retry_after(seconds)
        error = RateLimited(message, retry_after=float(wait["retry-after"]))
        return HttpError(429, error, {**headers, **wait})

    def learn(self, viewer: Viewer, reports: CallReports) -> None:
        """Note whom the REST API has answered, in the calls of an operation."""
        self._strangers.learn(viewer, reports)

    async def settle(self, viewer: Viewer, scope: Scope, operations: int) -> None:
        """Count a request that is over for its address, where the REST API does not know its caller."""
        await self._strangers.count(viewer, scope, operations)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._rate.aclose()


class NoCallerRate:
    """Lets callers ask for as much as they like."""

    async def take(self, viewer: Viewer, scope: Scope) -> RawHeaders:  # noqa: ARG002 - as above
        """Return nothing to tell."""
        return []

    async def take_rest(self, viewer: Viewer, scope: Scope, operations: int) -> RawHeaders:  # noqa: ARG002 - as above
        """Return nothing to tell."""
        return []

    def learn(self, viewer: Viewer, reports: CallReports) -> None:
        """Note nobody."""

    async def settle(self, viewer: Viewer, scope: Scope, operations: int) -> None:
        """Count nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


def build_caller_rate(
    limit: str | None, cache: CacheSettings, counts: Counts, timing: Timing
) -> CallerRate | NoCallerRate:
    """Return the limit of operations per caller; there is none where ``limit`` is None."""
    if limit is None:
        return NoCallerRate()
    from gateway.auth.gcra import build_rate  # noqa: PLC0415 - see there: it is slow to import

    rate = build_rate("rate_limit", limit, cache, counts, timing.clock)
    return CallerRate(rate, counts, Strangers(rate, timing.clock))


def _name(viewer: Viewer, scope: Scope) -> str:
    return viewer.caller if viewer.caller != EVERYONE else f"address:{client_of(address_of(scope))}"


def _told(standing: Standing) -> str:
    return f'"caller";r={standing.remaining};t={int(standing.reset_after)}'
