"""Turns an HTTP response of the REST API into a body or into one of our errors."""

import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from gateway.errors import (
    BadUserInput,
    Forbidden,
    GatewayError,
    NoDescriptorLeft,
    RateLimited,
    Unauthenticated,
    UpstreamError,
    UpstreamFailure,
    UpstreamInvalidResponse,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.http1 import (
    CallFailed,
    ConnectTimedOut,
    InvalidResponse,
    OutOfDescriptors,
    ReadTimedOut,
    Response,
    ResponseTooLarge,
)

_BY_STATUS: Mapping[int, type[GatewayError]] = {
    400: BadUserInput,
    401: Unauthenticated,
    403: Forbidden,
    408: UpstreamTimeout,
    409: BadUserInput,
    422: BadUserInput,
    429: RateLimited,
    502: UpstreamUnavailable,
    503: UpstreamUnavailable,
    504: UpstreamUnavailable,
}
# Clients see the codes, so each must look like a code: a server may write anything into the list.
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_CODES = 10
_MAX_ERROR_BYTES = 64 * 1024
_MAX_RETRY_AFTER_SECONDS = 86_400.0


def body_or_error(response: Response) -> bytes | None:
    """Return the body of a 200, None for a 404, and raise the matching GatewayError for any other status."""
    if response.status == 200:
        return response.body
    if response.status == 404:
        return None
    raise error_of(response)


def error_of(response: Response) -> GatewayError:
    """Return the error for a response that is not a success."""
    status = response.status
    default = UpstreamError if status >= HTTPStatus.BAD_REQUEST else UpstreamInvalidResponse
    error = _BY_STATUS.get(status, default)(
        upstream=UpstreamFailure(status, error_codes(response.body)),
        retry_after=parse_retry_after(response.header("retry-after")),
    )
    error.in_doubt = leaves_doubt(status)
    return error


def leaves_doubt(status: int) -> bool:
    """Whether a response with this status leaves open if the REST API carried the request out.

    Whatever sends a 5xx, a 408 or a redirect may be a proxy that knows nothing of the REST API's own response.
    """
    return (not 200 <= status < 300 and not 400 <= status < 500) or status == 408


def translate(exc: CallFailed | TimeoutError) -> GatewayError:
    """Return the error for a call without a response."""
    match exc:
        case TimeoutError() | ConnectTimedOut() | ReadTimedOut():
            return UpstreamTimeout()
        case ResponseTooLarge():
            return UpstreamInvalidResponse(f"The REST API's answer is larger than {exc.most} bytes.")
        case InvalidResponse():
            return UpstreamInvalidResponse()
        case OutOfDescriptors():
            return NoDescriptorLeft(retry_after=1.0)
        case _:
            return UpstreamUnavailable()


def error_codes(body: bytes) -> tuple[str, ...]:
    """Return the codes of the documented error body, without repeats; deprecated ones only if there are no others."""
    return tuple(dict.fromkeys(code for code, _ in error_entries(body)))[:_MAX_CODES]


def error_entries(body: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the entries of the documented error body with their codes; deprecated ones only if there are no others.

    A body of more than 64 KB is no such body: decoding a large one takes seconds.
    """
    if len(body) > _MAX_ERROR_BYTES:
        return []
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    entries = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return []
    shown: list[tuple[str, Mapping[str, Any]]] = []
    for entry in entries:
        code = entry.get("code") if isinstance(entry, dict) else None
        if isinstance(code, str) and _CODE.fullmatch(code):
            shown.append((code, entry))
    return [(code, entry) for code, entry in shown if entry.get("deprecated") is not True] or shown


def parse_retry_after(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for in either form (RFC 9110, section 10.2.3).

    More than a day counts as a day: a wrong date must not stop the gateway for years.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    if not math.isfinite(seconds):
        return None
    return float(math.ceil(min(max(0.0, seconds), _MAX_RETRY_AFTER_SECONDS)))


def _seconds_until(date: str, now: Callable[[], float]) -> float:
    """Return the seconds until an HTTP date; NaN if it is none."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now()
    except (ValueError, OverflowError):  # OverflowError: a year or a time zone of many digits
        return math.nan
