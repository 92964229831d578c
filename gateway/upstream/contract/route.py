"""The REST routes, and how an id is encoded so that it cannot change the route."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from gateway.errors import BadUserInput

_MAX_ID_LENGTH = 1024
_MAX_DECODINGS = 3
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")
_NAMES = {"/": "`/`", "\\": "`\\`"}


@dataclass(frozen=True, slots=True)
class Route:
    """One REST route. ``template`` names it in logs and metrics, which must not contain ids."""

    name: str
    template: str
    prefix: str
    suffix: str = ""

    def path(self, identifier: str) -> str:
        """Return the path for one id, percent-encoded; raise BadUserInput for an id that cannot be in a path."""
        return self.prefix + encode_segment(identifier) + self.suffix


THREAD = Route("thread", "/api/v1/thread/{id}", "/api/v1/thread/")
MESSAGES = Route("messages", "/api/v1/thread/{id}/messages", "/api/v1/thread/", "/messages")
CUSTOMER = Route("customer", "/api/v1/customers/{customer_external_id}", "/api/v1/customers/")
TOKEN_PATH = "/api/v1/token"  # noqa: S105 - a path, not a secret


def encode_segment(identifier: str) -> str:
    """Percent-encode an id as one path segment (RFC 3986, section 2.1).

    Raises BadUserInput for an id that could change the route: an empty one, ``.`` and ``..``, which URL libraries
    remove even when they are encoded (WHATWG URL, "double-dot URL path segment"), and one with a slash, a backslash
    or a control character. A server in front of the REST API may decode the path before it looks for the route: nginx
    with ``proxy_pass http://api/;`` makes ``/api/v1/customers/ceo`` of the id ``../customers/ceo``.
    """
    if len(identifier) > _MAX_ID_LENGTH:
        raise BadUserInput(f"An id of {len(identifier)} characters is longer than any: at most {_MAX_ID_LENGTH}.")
    decoded = _decoded(identifier)
    if decoded in {"", ".", ".."}:
        raise BadUserInput(f"{identifier!r} is not an id.")
    forbidden = _FORBIDDEN.search(decoded)
    if forbidden is not None:
        raise BadUserInput(f"An id must not contain {_NAMES.get(forbidden[0], 'a control character')}.")
    try:
        return quote(identifier, safe="")
    except UnicodeEncodeError as exc:
        raise BadUserInput("An id must be valid Unicode text, without lone surrogates.") from exc


def _decoded(identifier: str) -> str:
    """Return what is left of an id that servers in front of the REST API decode, each once more than the last."""
    for _ in range(_MAX_DECODINGS):
        if "%" not in identifier:
            break
        identifier = unquote(identifier, errors="ignore")
    return identifier
