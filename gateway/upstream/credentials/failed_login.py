"""A failed login: how long it is remembered, and how calls are answered meanwhile.

Every failure is remembered, so that a thousand operations log in once and not a thousand times:

    rejected     400, 401, 403, 422, 423: for the whole pause, because the REST API locks an account
    not decided  429, 408, 5xx or no response: as long as ``Retry-After``, or else 1 s, which doubles with every failure
    unclear      any other response: as long as ``Retry-After``, or else 60 s, which doubles with every failure

An unclear response may be the REST API's way to reject a password, so a minute passes even before the second login. The
doubling ends at the pause.
"""

import math
from dataclasses import dataclass
from http import HTTPStatus

from gateway.errors import (
    GatewayError,
    RateLimited,
    Unauthenticated,
    UpstreamError,
    UpstreamFailure,
    UpstreamInvalidResponse,
    UpstreamUnavailable,
)

_REJECTIONS = frozenset({400, 401, 403, 422, 423})
_UNDECIDED_SECONDS = 1.0
_UNCLEAR_SECONDS = 60.0
_MAX_DOUBLINGS = 30  # beyond any pause; a much larger power does not fit a float
_REJECTED = (
    "The REST API rejected the gateway's own account. It is not tried again before the pause is over, "
    "because too many wrong logins lock it."
)
_FAILED = "The gateway's own login at the REST API failed. It is tried again after a pause."


@dataclass(frozen=True, slots=True)
class FailedLogin:
    """A login that failed. ``seconds`` is how much longer that counts, ``status`` is None if no response came."""

    seconds: float
    status: int | None
    in_a_row: int = 1
    """How many logins in a row have failed, this one included."""
    codes: tuple[str, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether the REST API rejected the account."""
        return self.status in _REJECTIONS

    def error(self) -> GatewayError:
        """Return the error for calls that need the login; never one that blames the caller's request."""
        upstream = None if self.status is None else UpstreamFailure(self.status, self.codes)
        kind, message = self._kind()
        return kind(message, upstream=upstream, retry_after=float(math.ceil(self.seconds)))

    def _kind(self) -> tuple[type[GatewayError], str]:
        if self.rejected:
            return Unauthenticated, _REJECTED
        match self.status:
            case HTTPStatus.TOO_MANY_REQUESTS:
                return RateLimited, "The REST API limits the rate of the gateway's own logins."
            case None | 408 | 502 | 503 | 504:
                return UpstreamUnavailable, _FAILED
            case HTTPStatus.OK:
                return UpstreamInvalidResponse, "The REST API's token answer holds no access token."
        return UpstreamError, _FAILED


def pause_after(status: int | None, retry_after: float | None, in_a_row: int, longest: float) -> float:
    """Return for how many seconds a failure is remembered; ``longest`` bounds the doubling, not ``Retry-After``."""
    if status in _REJECTIONS:
        return max(longest, retry_after or 0.0)
    if retry_after:  # zero seconds is no pause
        return retry_after
    undecided = status is None or status in {408, 429} or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    first = _UNDECIDED_SECONDS if undecided else _UNCLEAR_SECONDS
    return min(longest, first * 2.0 ** min(in_a_row - 1, _MAX_DOUBLINGS))
