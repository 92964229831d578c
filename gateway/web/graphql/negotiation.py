"""Which media type a response has (RFC 9110, section 12.5.1; GraphQL over HTTP, section Accept)."""

from collections.abc import Sequence
from functools import lru_cache

from gateway.errors import BadUserInput
from gateway.web.request import HttpError, HttpRequest

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
HTML = "text/html"

_RESPONSES = (JSON, GRAPHQL_RESPONSE)
_RESPONSES_AND_PAGE = (*_RESPONSES, HTML)
_MAX_HEADER_CHARACTERS = 1024


def require_media_type(request: HttpRequest, *, has_page: bool) -> str:
    """Return the media type of the response; HttpError 406 where the client accepts none of those offered."""
    offered = _RESPONSES_AND_PAGE if has_page and request.method == "GET" else _RESPONSES
    media_type = negotiate(bounded(request.headers.get("accept")), offered)
    if media_type is None:
        raise HttpError(406, BadUserInput(f"Answers come as one of {', '.join(offered)}."))
    return media_type


def error_media_type(request: HttpRequest) -> str:
    """Return the media type of an HTTP error. From plain JSON, Apollo Client shows only the status, not the errors."""
    return negotiate(bounded(request.headers.get("accept")), _RESPONSES) or JSON


def bounded(header: str | None) -> str | None:
    """Return the value of a header with preferences, None where it is longer than any client's.

    It is parsed and cached before the caller is authenticated.
    """
    return None if header is None or len(header) > _MAX_HEADER_CHARACTERS else header


@lru_cache(maxsize=256)
def negotiate(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the offered media type that a `bounded` ``accept`` prefers, None where it accepts none of them.

    Among equal preferences the more specific range wins, then the first that is offered, which is also the default
    without the header.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [preference(part) for part in accept.split(",")]
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for media_type in offered:
        weight = _weight(media_type, ranges)
        if weight[0] > 0 and weight > best:
            best, chosen = weight, media_type
    return chosen


def preference(part: str) -> tuple[str, float]:
    """Return a name and its quality, 0 to 1, of one element of a header such as ``Accept``."""
    name, *parameters = (each.strip().lower() for each in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return name, 0.0
    return name, 1.0


def _weight(media_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """Return the quality and the specificity of the most specific range that covers ``media_type``."""
    specificity = {media_type: 3, media_type.split("/", maxsplit=1)[0] + "/*": 2, "*/*": 1}
    matching = [(specificity[name], quality) for name, quality in ranges if name in specificity]
    if not matching:
        return 0.0, 0
    rank, quality = max(matching)
    return quality, rank
