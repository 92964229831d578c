"""The endpoints of the REST API, listed once at the end of this file: from a request to its response, without faults.

A path is matched by the segments of the *raw* path, each decoded by itself. A router that matches the decoded path
would read the id `a/b`, sent as `a%2Fb`, as two segments.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

from gateway.sandbox.http.exchange import Exchange
from gateway.sandbox.http.response import RefusedError, Response
from gateway.sandbox.rest_api.accounts import Accounts
from gateway.sandbox.rest_api.request_bodies import ChatTokenRequest, NewMessage, ThreadUpdate, TokenRequest, parse
from gateway.sandbox.rest_api.store import Store

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
"""A higher `limit` is reduced to this, as paged APIs do; what the REST API does is unknown."""

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Target:
    """The endpoint a request is for, and the id in its path; `allowed` names the methods the path takes."""

    route: str
    ident: str = ""
    allowed: tuple[str, ...] = ()


class Endpoints:
    """Responds to requests from a store, for the users of some accounts.

    A method for an endpoint takes the id in the path, the request, and the name of its user.
    """

    def __init__(self, store: Store, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock

    def respond(self, target: Target, request: Exchange) -> Response:
        """Return the response, which may be an error."""
        try:
            endpoint = ROUTES.get(target.route)
            if endpoint is None:
                raise _nothing_here(target)
            caller = self._accounts.authenticate(request.headers.get("authorization")) if endpoint.login else ""
            return endpoint.respond(self, target.ident, request, caller)
        except RefusedError as refusal:
            return refusal.response

    def login_name(self, target: Target, request: Exchange) -> str | None:
        """Return the user who asks for a token, for the call log; None for other calls and unreadable bodies."""
        if target.route != "token":
            return None
        try:
            return parse(request.body, TokenRequest).username
        except RefusedError:
            return None

    def token(self, _ident: str, request: Exchange, _caller: str) -> Response:
        """Log in."""
        login = parse(request.body, TokenRequest)
        return _json(self._accounts.issue(login.username, login.password))

    def thread(self, ident: str, _request: Exchange, caller: str) -> Response:
        """Return a thread."""
        return Response(body=self._store.thread(ident, caller))

    def customer(self, ident: str, _request: Exchange, caller: str) -> Response:
        """Return a customer's details."""
        return Response(body=self._store.customer(ident, caller))

    def messages(self, ident: str, request: Exchange, _caller: str) -> Response:
        """Return a page of messages."""
        query = parse_qs(request.query, keep_blank_values=True)
        offset = _count(query, "offset", 0)
        limit = _count(query, "limit", DEFAULT_LIMIT)
        return Response(body=self._store.messages(ident, offset, min(limit, MAX_LIMIT)))

    def update_thread(self, ident: str, request: Exchange, caller: str) -> Response:
        """Change a thread, and return it."""
        self._store.update_thread(ident, parse(request.body, ThreadUpdate))
        return Response(body=self._store.thread(ident, caller))

    def message(self, _ident: str, request: Exchange, _caller: str) -> Response:
        """Add a message."""
        self._store.add_message(parse(request.body, NewMessage))
        return Response(204)

    def chat_token(self, _ident: str, request: Exchange, _caller: str) -> Response:
        """Return a token for an end user's chat."""
        parse(request.body, ChatTokenRequest)
        return _json({"expires_at": int(self._clock()) + 3600, "token": secrets.token_urlsafe(24)})


def _json(body: object) -> Response:
    return Response(body=msgspec.json.encode(body))


def _count(query: Mapping[str, list[str]], name: str, default: int) -> int:
    if name not in query:
        return default
    text = query[name][-1]
    if not (text.isascii() and text.isdigit()):
        raise RefusedError(422, "validation_failed", f"{name} is {text!r}; it must be a whole number, 0 or more.")
    return int(text)


def _nothing_here(target: Target) -> RefusedError:
    if target.allowed:
        allow = ", ".join(target.allowed)
        return RefusedError(405, "method_not_allowed", f"This path takes {allow}.", {"allow": allow})
    return RefusedError(404, "not_found", "There is nothing at this path.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. `hint` says what to try; without `login` it needs no credential."""

    name: str
    method: str
    template: str
    respond: Callable[[Endpoints, str, Exchange, str], Response]
    hint: str = ""
    login: bool = True

    @property
    def has_id(self) -> bool:
        """Whether there is an id in the path."""
        return "{" in self.template


_THREADS: Final = "th-1 to th-5, th-big, th-long, th-100 to th-199, th-%C3%BCn%C3%AF%2Fcode%3F"

ENDPOINTS: Final = (
    Endpoint("thread", "GET", "/api/v1/thread/{id}", Endpoints.thread, _THREADS),
    Endpoint("messages", "GET", "/api/v1/thread/{id}/messages", Endpoints.messages, "?offset=0&limit=20"),
    Endpoint("update_thread", "POST", "/api/v1/thread/{id}", Endpoints.update_thread, '{"status": 2}'),
    Endpoint("message", "POST", "/api/v1/message", Endpoints.message, '{"thread_id": "th-1", "content": "…"}'),
    Endpoint("chat_token", "POST", "/api/v1/chat/token", Endpoints.chat_token, '{"external_id": "cu-1"}'),
    Endpoint("customer", "GET", "/api/v1/customers/{customer_external_id}", Endpoints.customer, "cu-1 to cu-12"),
    Endpoint(
        "token",
        "POST",
        "/api/v1/token",
        Endpoints.token,
        '{"grant_type": "password", "username": …, "password": …}',
        login=False,
    ),
)

ROUTES: Final = {each.name: each for each in ENDPOINTS}

_ID: Final = ""  # instead of a segment, in the template of a path


def locate(method: str, path: str) -> Target:
    """Find the endpoint for a method and a raw path; the route is `unknown` where there is none."""
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    for template, names in _PATHS:
        if len(template) == len(segments) and all(map(_fits, template, segments)):
            ident = next((each for wanted, each in zip(template, segments, strict=True) if wanted == _ID), "")
            return Target(names.get(method, UNKNOWN), ident, tuple(names))
    return Target(UNKNOWN)


def _fits(wanted: str, segment: str) -> bool:
    return wanted in (_ID, segment)


def _paths() -> list[tuple[list[str], dict[str, str]]]:
    """Return the segments of each path, an empty one for the id, and the route of each method."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for each in ENDPOINTS:
        found[each.template][each.method] = each.name
    return [
        ([_ID if part.startswith("{") else part for part in template.split("/")[1:]], names)
        for template, names in found.items()
    ]


_PATHS: Final = _paths()
