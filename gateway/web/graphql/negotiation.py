"""Which media type a response has (RFC 9110, section 12.5.1; GraphQL over HTTP, section Accept)."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.errors import BadUserInput
from gateway.web.request import HttpError, HttpRequest

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
STREAMS = (EVENT_STREAM, MULTIPART)
"""The media types of responses that have several results."""

_RESPONSES = (JSON, GRAPHQL_RESPONSE)
_OFFERED = (*_RESPONSES, EVENT_STREAM)
_OFFERED_WITH_PAGE = (*_RESPONSES, HTML, EVENT_STREAM)
_MAX_HEADER_CHARACTERS = 1024
# A quoted parameter may have the separators in it (RFC 9110, section 5.6.4).
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+')
# Of Apollo's protocol for subscriptions over multipart HTTP.
_MULTIPART_VERSION = "1.0"


class Preference(NamedTuple):
    """One element of a header such as ``Accept``; ``quality`` is 0 to 1. Names are in lower case."""

    name: str
    quality: float
    parameters: Mapping[str, str]


def require_media_type(request: HttpRequest, *, has_page: bool) -> str:
    """Return the media type of the response; HttpError 406 where the client accepts none of those offered.

    A client may accept nothing but `MULTIPART`, which only a subscription has.
    """
    accept = bounded(request.headers.get("accept"))
    offered = _OFFERED_WITH_PAGE if has_page and request.method == "GET" else _OFFERED
    media_type = negotiate(accept, offered) or subscription_media_type(accept)
    if media_type is None:
        raise HttpError(406, BadUserInput(f"Answers come as one of {', '.join(offered)}."))
    return media_type


def require_json(request: HttpRequest, what: str) -> str:
    """Return the media type for what is no stream; HttpError 406 where the client accepts no JSON."""
    media_type = negotiate(bounded(request.headers.get("accept")), _RESPONSES)
    if media_type is None:
        raise HttpError(406, BadUserInput(f"{what} is answered with JSON: accept {' or '.join(_RESPONSES)}."))
    return media_type


@lru_cache(maxsize=256)
def subscription_media_type(accept: str | None) -> str | None:
    """Return the media type of a subscription's events, None where a `bounded` ``accept`` has none that streams.

    ``multipart/mixed`` has to name Apollo's protocol with ``subscriptionSpec=1.0``.
    """
    if accept is None or not accept.strip():
        return EVENT_STREAM
    ranges = preferences(accept)
    parts = [(each.quality, 3) for each in ranges if each.name == MULTIPART and _is_for_subscriptions(each)]
    weights = {EVENT_STREAM: _weight(EVENT_STREAM, ranges), MULTIPART: max(parts, default=(0.0, 0))}
    best = max(weights, key=weights.__getitem__)
    return best if weights[best][0] > 0 else None


def _is_for_subscriptions(each: Preference) -> bool:
    return each.parameters.get("subscriptionspec") == _MULTIPART_VERSION


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
    ranges = preferences(accept)
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for media_type in offered:
        weight = _weight(media_type, ranges)
        if weight[0] > 0 and weight > best:
            best, chosen = weight, media_type
    return chosen


def preferences(header: str) -> list[Preference]:
    """Return the elements of a header such as ``Accept``, in their order."""
    return [_preference(element) for element in _ELEMENT.findall(header)]


def _preference(element: str) -> Preference:
    name, *rest = _PARAMETER.findall(element) or [""]
    parameters = {}
    for each in rest:
        key, _, value = each.strip().partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"').lower()
    return Preference(name.strip().lower(), _quality(parameters.get("q", "1")), parameters)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _weight(media_type: str, ranges: Sequence[Preference]) -> tuple[float, int]:
    """Return the quality and the specificity of the most specific range that covers ``media_type``."""
    specificity = {media_type: 3, media_type.split("/", maxsplit=1)[0] + "/*": 2, "*/*": 1}
    matching = [(specificity[each.name], each.quality) for each in ranges if each.name in specificity]
    if not matching:
        return 0.0, 0
    rank, quality = max(matching)
    return quality, rank
