"""A row of the contract for a route, and how an id is encoded so that it cannot change the route."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote, unquote

from gateway.errors import BadUserInput
from gateway.upstream.contract.model import Certainty, Field

_MAX_ID_LENGTH = 1024
_MAX_DECODINGS = 3
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
"""An id as most are: unreserved characters, which are not encoded (RFC 3986, section 2.3), and not ``.`` or ``..``."""
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")
_NAMES = {"/": "`/`", "\\": "`\\`"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a response is about. A change of the subject makes it out of date, so that purges name subjects."""

    kind: str
    """``thread`` or ``customer``."""
    by: str
    """The parameter of the path, or the field of the request body, that has the subject's id."""

    def of(self, identifier: str) -> str:
        """Return the subject with this id, as a purge names it."""
        return f"{self.kind}:{identifier}"


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long a cached response is fresh: ``seconds``, or what the cache setting ``setting`` says, if it has one."""

    seconds: float
    setting: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Route:
    """One REST route.

    ``name`` is how the sandbox and its faults name it. ``template`` names it in logs and metrics, which must not
    contain ids. ``response`` is the `ObjectType` of a success; None: it has no body.
    """

    method: ClassVar[str]
    name: str
    template: str
    response: str | None
    status: int = 200
    """The status of a success."""
    note: str = ""
    certainty: Certainty = Certainty.DOCUMENTED

    @property
    def parameter(self) -> str | None:
        """The name of the id in the path, None if there is none."""
        return self.template.partition("{")[2].partition("}")[0] or None

    def path(self, identifier: str = "") -> str:
        """Return the path for one id, percent-encoded; raise BadUserInput for an id that cannot be in a path."""
        prefix, brace, rest = self.template.partition("{")
        return prefix + encode_segment(identifier) + rest.partition("}")[2] if brace else prefix


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Read(Route):
    """A GET. ``fresh`` says how long its responses may be cached; None: never."""

    method: ClassVar[str] = "GET"
    subject: Subject
    fresh: Freshness | None
    query: tuple[Field, ...] = ()

    def target(self, identifier: str, query: Mapping[str, int]) -> str:
        """Return path and query string; raise BadUserInput as `path` does. The names are those of ``query``."""
        path = self.path(identifier)
        return f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}" if query else path


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Write(Route):
    """A POST with a JSON body of the `ObjectType` ``request``. ``purges`` is what a cache must forget after it."""

    method: ClassVar[str] = "POST"
    request: str
    purges: Subject | None = None


def encode_segment(identifier: str) -> str:
    """Percent-encode an id as one path segment (RFC 3986, section 2.1).

    Raises BadUserInput for an id that could change the route: an empty one, ``.`` and ``..``, which URL libraries
    remove even when they are encoded (WHATWG URL, "double-dot URL path segment"), and one with a slash, a backslash
    or a control character. A server in front of the REST API may decode the path before it looks for the route: nginx
    with ``proxy_pass http://api/;`` makes ``/api/v1/customers/ceo`` of the id ``../customers/ceo``.
    """
    if len(identifier) > _MAX_ID_LENGTH:
        raise BadUserInput(f"An id of {len(identifier)} characters is longer than any: at most {_MAX_ID_LENGTH}.")
    if _PLAIN.fullmatch(identifier):
        return identifier
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
