"""Step 2 of the endpoint: admit a request within its caller's rate limit (IETF draft RateLimit header fields)."""

from collections.abc import Mapping, Sequence

from gateway.auth import EVERYONE, Viewer
from gateway.auth.failures import client_of
from gateway.auth.rate_limits import Rate, Standing
from gateway.errors import RateLimited
from gateway.storage.shared import Shared
from gateway.telemetry import Counts
from gateway.upstream.call import CallReports
from gateway.web.request import HttpError, HttpRequest, retry_after_header
from gateway.web.unverified_clients import UnverifiedClients

RawHeaders = Sequence[tuple[bytes, bytes]]

_NO_HEADERS: Mapping[str, str] = {}


class Admission:
    """An admitted request of ``viewer``, without a limit. `settle` is called once, when the request is over."""

    headers: RawHeaders = ()
    """The headers that report the caller's rate limit, for every response from here on, refusals included."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    async def add_batch(self, operations: int) -> None:
        """Count the operations of a batch; HttpError 429 if they exceed the limit."""

    def record(self, reports: CallReports) -> None:
        """Record the REST calls of an executed operation."""

    async def settle(self) -> None:
        """Finish counting."""


class RateLimitedAdmission(Admission):
    """An admitted request that counts for its caller, and for its address while the REST API has not verified it."""

    def __init__(self, limit: "RateLimit", viewer: Viewer, request: HttpRequest, headers: RawHeaders) -> None:
        super().__init__(viewer)
        self.headers = headers
        self._limit = limit
        self._request = request
        self._operations = 1

    async def add_batch(self, operations: int) -> None:
        """Count all operations of a batch but the first, which `RateLimit.admit` has counted."""
        self.headers = ()  # a refusal has its own
        self.headers = await self._limit.take_rest(self.viewer, self._request, operations)
        self._operations = operations

    def record(self, reports: CallReports) -> None:
        """Remember a caller that the REST API has answered."""
        self._limit.unverified.record(self.viewer, reports)

    async def settle(self) -> None:
        """Count the request for its address if the REST API has not answered its caller."""
        await self._limit.unverified.count(self.viewer, self._request.address, self._operations)


class RateLimit:
    """Limits the operations of each caller; of each address, if callers are not distinguished or not verified yet."""

    def __init__(self, rate: Rate, counts: Counts, unverified: UnverifiedClients) -> None:
        self.unverified = unverified
        self._rate = rate
        self._counts = counts
        self._policy = f'"caller";q={rate.limit};w={rate.window}'

    async def admit(self, viewer: Viewer, request: HttpRequest) -> Admission:
        """Count one operation of the viewer, and admit the request; HttpError 429 if the limit is exceeded."""
        seconds = self.unverified.wait(viewer, request.address)
        if seconds:
            raise self._too_many("Too many requests of callers that the REST API does not know.", seconds)
        headers = self._headers(await self._rate.take(_name(viewer, request)), 0)
        return RateLimitedAdmission(self, viewer, request, headers)

    async def take_rest(self, viewer: Viewer, request: HttpRequest, operations: int) -> RawHeaders:
        """Count the operations of a batch but the first, and return the headers.

        A batch larger than the limit takes all of it. The wait of a refused batch includes its first operation, which
        the retry counts again.
        """
        rest = min(operations, self._rate.limit) - 1
        return self._headers(await self._rate.take(_name(viewer, request), rest), self._rate.window / self._rate.limit)

    def _headers(self, standing: Standing | None, further_wait: float) -> RawHeaders:
        if standing is None:
            return ()
        remaining = f'"caller";r={standing.remaining};t={int(standing.reset_after)}'
        headers = {"ratelimit-policy": self._policy, "ratelimit": remaining}
        if standing.allowed:
            return [(name.encode(), value.encode()) for name, value in headers.items()]
        raise self._too_many("Too many operations for this caller.", standing.retry_after + further_wait, headers)

    def _too_many(self, message: str, seconds: float, headers: Mapping[str, str] = _NO_HEADERS) -> HttpError:
        self._counts["rate_limited"] += 1
        wait = retry_after_header(seconds)
        error = RateLimited(message, retry_after=float(wait["retry-after"]))
        return HttpError(429, error, {**headers, **wait})

    async def aclose(self) -> None:
        """Close the connections of the rate store."""
        await self._rate.aclose()


class NoRateLimit:
    """Admits every request."""

    async def admit(self, viewer: Viewer, request: HttpRequest) -> Admission:  # noqa: ARG002 - the signature of RateLimit.admit
        """Admit the request."""
        return Admission(viewer)

    async def aclose(self) -> None:
        """Do nothing."""


def build_rate_limit(limit: str | None, shared: Shared) -> RateLimit | NoRateLimit:
    """Return the limit of operations per caller; there is none where ``limit`` is None."""
    if limit is None:
        return NoRateLimit()
    from gateway.auth.gcra import build_rate  # noqa: PLC0415 - see there: it is slow to import

    rate = build_rate("rate_limit", limit, shared)
    return RateLimit(rate, shared.counts, UnverifiedClients(rate, shared.timing.clock))


def _name(viewer: Viewer, request: HttpRequest) -> str:
    return viewer.caller if viewer.caller != EVERYONE else f"address:{client_of(request.address)}"
