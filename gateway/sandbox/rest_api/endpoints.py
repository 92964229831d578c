"""The endpoints of the contract: from a request to its response, without faults."""

import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

import msgspec

from gateway.sandbox.http.exchange import Exchange
from gateway.sandbox.http.response import RefusedError, Response
from gateway.sandbox.rest_api.accounts import Accounts
from gateway.sandbox.rest_api.request_bodies import ChatTokenRequest, NewMessage, ThreadUpdate, TokenRequest, parse
from gateway.sandbox.rest_api.routes import Target
from gateway.sandbox.rest_api.store import Store

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
"""A higher `limit` is reduced to this, as paged APIs do; what the REST API does is unknown."""


class Endpoints:
    """Responds to requests from a store, for the users of some accounts."""

    def __init__(self, store: Store, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._handlers: Mapping[str, Callable[[str, Exchange, str], Response]] = {
            "thread": self._thread,
            "messages": self._messages,
            "update_thread": self._update_thread,
            "message": self._message,
            "chat_token": self._chat_token,
            "customer": self._customer,
        }

    def respond(self, target: Target, request: Exchange) -> Response:
        """Return the response, which may be an error."""
        try:
            if target.route == "token":
                return self._token(request)
            handler = self._handlers.get(target.route)
            if handler is None:
                raise _nothing_here(target)
            caller = self._accounts.authenticate(request.headers.get("authorization"))
            return handler(target.ident, request, caller)
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

    def _token(self, request: Exchange) -> Response:
        login = parse(request.body, TokenRequest)
        return _json(self._accounts.issue(login.username, login.password))

    def _thread(self, ident: str, _request: Exchange, caller: str) -> Response:
        return Response(body=self._store.thread(ident, caller))

    def _customer(self, ident: str, _request: Exchange, caller: str) -> Response:
        return Response(body=self._store.customer(ident, caller))

    def _messages(self, ident: str, request: Exchange, _caller: str) -> Response:
        query = parse_qs(request.query, keep_blank_values=True)
        offset = _count(query, "offset", 0)
        limit = _count(query, "limit", DEFAULT_LIMIT)
        return Response(body=self._store.messages(ident, offset, min(limit, MAX_LIMIT)))

    def _update_thread(self, ident: str, request: Exchange, caller: str) -> Response:
        self._store.update_thread(ident, parse(request.body, ThreadUpdate))
        return Response(body=self._store.thread(ident, caller))

    def _message(self, _ident: str, request: Exchange, _caller: str) -> Response:
        self._store.add_message(parse(request.body, NewMessage))
        return Response(204)

    def _chat_token(self, _ident: str, request: Exchange, _caller: str) -> Response:
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
