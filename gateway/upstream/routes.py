"""The REST routes, and how an id is encoded so that it cannot change the route."""

from dataclasses import dataclass
from urllib.parse import quote

from gateway.errors import BadUserInput

_MAX_ID_LENGTH = 1024


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

    Raises BadUserInput for an empty id and for ``.`` and ``..``: URL libraries remove those two from a path even when
    they are encoded (WHATWG URL, "double-dot URL path segment"), so the call would reach another route.
    """
    if not identifier or identifier in {".", ".."}:
        raise BadUserInput(f"{identifier!r} is not an id.")
    if len(identifier) > _MAX_ID_LENGTH:
        raise BadUserInput(f"An id of {len(identifier)} characters is longer than any: at most {_MAX_ID_LENGTH}.")
    try:
        return quote(identifier, safe="")
    except UnicodeEncodeError as exc:
        raise BadUserInput("An id must be valid Unicode text, without lone surrogates.") from exc
