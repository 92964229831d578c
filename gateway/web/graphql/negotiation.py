"""Which media type answers a request (RFC 9110, section 12.5.1; GraphQL over HTTP, section Accept)."""

from collections.abc import Sequence
from functools import lru_cache

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
HTML = "text/html"


_LONGEST = 1024


def sensible(header: str | None) -> str | None:
    """Return the value of a header with preferences, None where it is longer than any client's.

    It is parsed, and remembered, before it is known who asks.
    """
    return None if header is None or len(header) > _LONGEST else header


@lru_cache(maxsize=256)
def negotiate(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the offered media type that the `sensible` ``accept`` likes best, None where it takes none of them.

    Of equally liked ones the more specifically named wins, then the one offered first; without the header that is the
    first.
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
    """Return a name and its quality, 0 to 1, of one part of a header such as ``Accept``."""
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
