"""How many operations a caller may ask for, and how an answer says so (IETF draft RateLimit header fields)."""

from starlette.types import Scope

from gateway.auth import EVERYONE, Viewer
from gateway.auth.failures import client_of
from gateway.auth.rates import Rate, Standing
from gateway.errors import RateLimited
from gateway.settings import Settings
from gateway.telemetry import Counts
from gateway.upstream.timing import Timing
from gateway.web.entrance import address_of, retry_after
from gateway.web.http_error import HttpError

RawHeaders = list[tuple[bytes, bytes]]


class CallerRate:
    """Counts the operations of each caller; of each address, where callers are not told apart."""

    def __init__(self, rate: Rate, counts: Counts) -> None:
        self._rate = rate
        self._counts = counts
        self._policy = f'"caller";q={rate.limit};w={rate.window}'

    async def take(self, viewer: Viewer, scope: Scope) -> RawHeaders:
        """Count an operation, and return the headers that tell how the caller stands; HttpError 429 if too many."""
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
        self._counts["rate_limited"] += 1
        wait = retry_after(standing.retry_after + further_wait)
        error = RateLimited("Too many operations for this caller.", retry_after=float(wait["retry-after"]))
        raise HttpError(429, error, {**headers, **wait})

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

    async def aclose(self) -> None:
        """Do nothing."""


def build_caller_rate(settings: Settings, counts: Counts, timing: Timing) -> CallerRate | NoCallerRate:
    """Return the limit that ``settings`` ask for."""
    if settings.rate_limit is None:
        return NoCallerRate()
    from gateway.auth.buckets import build_rate  # noqa: PLC0415 - see there: it is slow to import

    return CallerRate(build_rate("rate_limit", settings.rate_limit, settings, counts, timing.clock), counts)


def _name(viewer: Viewer, scope: Scope) -> str:
    return viewer.caller if viewer.caller != EVERYONE else f"address:{client_of(address_of(scope))}"


def _told(standing: Standing) -> str:
    return f'"caller";r={standing.remaining};t={int(standing.reset_after)}'
