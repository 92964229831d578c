"""Token authentication upstream: one login for any number of calls, and no login that has just failed.

A token is valid for an hour, or for ``expires_in`` seconds if the login response says so. It is renewed in the
background shortly before it expires; calls use the old token meanwhile. After a 401 the token is renewed once and the
call is repeated. A failed login is remembered (failed_login.py), because the REST API locks an account after too many
wrong ones, and only the vendor can unlock it.

    none ──login──▶ fresh ──renew_at──▶ due (renewed in the background) ──expires_at──▶ none
      │                ▲                  │
      │              login                │
      └────failure──▶ failed ◀──failure───┘
                       └── no login before the pause is over; a token that is still valid is used meanwhile
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec

from gateway.auth.passthrough import is_sendable
from gateway.errors import GatewayError
from gateway.http1 import CallFailed, HeaderLines, OutOfDescriptors, Response
from gateway.telemetry import logger
from gateway.upstream.call import Call, Owner, RestRequest, Transport, owner_of
from gateway.upstream.contract import TOKEN
from gateway.upstream.credentials.failed_login import FailedLogin, pause_after
from gateway.upstream.credentials.login_lock import LoginAttempt, LoginLock, NestedLoginLock
from gateway.upstream.response import error_codes, parse_retry_after

_DEFAULT_LIFETIME_SECONDS = 3600.0
_MAX_MARGIN_SECONDS = 60.0
# If a fresh token also gets a 401, the account lacks the right to this route, and another login would not help.
_RENEWAL_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Token:
    """An access token; times are of the login's clock, in seconds."""

    authorization: str = field(repr=False)
    requested_at: float
    renew_at: float
    expires_at: float


class TokenLogin:
    """Gets tokens from ``POST /api/v1/token``, one call at a time.

    ``pause`` is how long a rejected login is remembered, ``clock`` is monotonic, and ``now`` the wall clock; all are in
    seconds. ``lock`` is shared by all processes that use the same account.
    """

    def __init__(
        self,
        transport: Transport,
        request: Callable[[], RestRequest],
        pause: float,
        clock: Callable[[], float] = time.monotonic,
        lock: LoginLock | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lock = lock or NestedLoginLock()
        self._transport = transport
        self._request = request
        self._pause = pause
        self._clock = clock
        self._token: Token | None = None
        self._now = now
        self._failed: FailedLogin | None = None
        """The last login, if it failed; it counts until ``_failed_until``."""
        self._failed_until = -math.inf
        self._login: asyncio.Task[Token] | None = None

    @property
    def token_age(self) -> float | None:
        """The age of the current token, in seconds; None without a valid one."""
        now = self._clock()
        return None if self._token is None or now >= self._token.expires_at else now - self._token.requested_at

    async def token(self, *, refused: Token | None = None) -> Token:
        """Return a token that is valid now, and not the one that was ``refused``.

        Raises the error of a failed login while that is remembered.
        """
        now = self._clock()
        token = self._token
        if token is not None and token is not refused and now < token.expires_at:
            if now >= token.renew_at and self._may_log_in(now):
                _ = self._start_login()
            return token
        if self._failed is not None and not self._may_log_in(now):
            raise replace(self._failed, seconds=self._failed_until - now).error()
        # Shielded: one cancelled call must not cancel the login for the others.
        return await asyncio.shield(self._start_login())

    @property
    def fresh_token(self) -> Token | None:
        """The current token, None if there is none or it is due for renewal."""
        return None if self._token is None or self._clock() >= self._token.renew_at else self._token

    def rejected(self) -> bool:
        """Return whether a rejected login is remembered."""
        return self._failed is not None and self._failed.rejected and not self._may_log_in(self._clock())

    def _may_log_in(self, now: float) -> bool:
        return now >= self._failed_until

    def _start_login(self) -> asyncio.Task[Token]:
        if self._login is None:
            self._login = asyncio.create_task(self._log_in(), name="upstream-login")
            self._login.add_done_callback(self._login_done)
        return self._login

    def _login_done(self, login: asyncio.Task[Token]) -> None:
        self._login = None
        if login.cancelled():
            return
        exc = login.exception()  # noqa: LOG004 - of a task; marks it as retrieved if no call awaits a renewal
        if exc is not None:
            seconds = self._failed_until - self._clock()
            logger.warning(
                "the login at the REST API failed: %s (next in %.0f s)", type(exc).__name__, max(0.0, seconds)
            )

    async def _log_in(self) -> Token:
        async with self._lock.attempt() as attempt:
            if attempt.failed is not None:
                raise self._remember(attempt.failed)
            started = self._clock()
            try:
                response = await self._send()
            except OutOfDescriptors:  # nothing was sent, and the REST API has no part in it
                raise
            except (CallFailed, TimeoutError):
                await self._fail(attempt, None)
                raise
            token = _parse(response.body, started) if response.status == HTTPStatus.OK else None
            if token is None:
                raise await self._fail(attempt, response)
            await attempt.succeed()
        self._token, self._failed, self._failed_until = token, None, -math.inf
        return token

    async def _send(self) -> Response:
        request = self._request()
        async with asyncio.timeout_at(request.call.deadline):
            return await self._transport.send(request)

    async def _fail(self, attempt: LoginAttempt, response: Response | None) -> GatewayError:
        """Remember a failure, here and in the other processes, and return its error."""
        in_a_row = 1 + max(attempt.failures, 0 if self._failed is None else self._failed.in_a_row)
        if response is None:
            failed = FailedLogin(pause_after(None, None, in_a_row, self._pause), None, in_a_row)
        else:
            status, asked = response.status, parse_retry_after(response.header("retry-after"), now=self._now)
            seconds = pause_after(status, asked, in_a_row, self._pause)
            failed = FailedLogin(seconds, status, in_a_row, error_codes(response.body))
        error = self._remember(failed)
        await attempt.fail(failed)
        return error

    def _remember(self, failed: FailedLogin) -> GatewayError:
        self._failed, self._failed_until = failed, self._clock() + failed.seconds
        return failed.error()

    async def aclose(self) -> None:
        """Cancel a running login."""
        if self._login is not None:
            self._login.cancel()
        await self._lock.aclose()


def _parse(body: bytes, started: float) -> Token | None:
    """Return the token of a login response, None if there is none in it."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    access_token = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(access_token, str) or not access_token or not is_sendable(access_token):
        return None
    lifetime = token_lifetime(document.get("expires_in"))
    margin = min(_MAX_MARGIN_SECONDS, lifetime / 10)
    return Token(f"Bearer {access_token}", started, started + lifetime - margin, started + lifetime)


def token_lifetime(expires_in: object) -> float:
    """Return ``expires_in`` if it is a positive number of seconds, as JSON or as text, else the documented hour."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float, str)):
        return _DEFAULT_LIFETIME_SECONDS
    try:
        lifetime = float(expires_in)
    except (ValueError, OverflowError):  # OverflowError: an integer of more than 308 digits
        return _DEFAULT_LIFETIME_SECONDS
    return lifetime if 0 < lifetime < math.inf else _DEFAULT_LIFETIME_SECONDS


class TokenAccount:
    """Sends the gateway's own token with every request, and a read after a 401 once more with a new token."""

    def __init__(
        self,
        following: Transport,
        login: TokenLogin,
        username: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._following = following
        self._login = login
        self._account = f"service:{username}"
        self._clock = clock
        # By route. A new token does not end the pause: two routes without rights would renew it for each other.
        self._no_renewal_before: dict[str, float] = {}

    async def send(self, request: RestRequest) -> Response:
        """Send the request with a token. After a 401 a read is sent again; a write is not: the next has a new token."""
        route = request.route.template
        token = await self._login.token()
        response = await self._send(request, token)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        if self._clock() < self._no_renewal_before.get(route, -math.inf):
            return response
        if not request.is_safe:
            self._no_renewal_before[route] = self._clock() + _RENEWAL_PAUSE_SECONDS
            with suppress(GatewayError, CallFailed, TimeoutError):
                await self._login.token(refused=token)
            return response
        renewed = await self._login.token(refused=token)
        response = await self._send(request, renewed)
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._no_renewal_before[route] = self._clock() + _RENEWAL_PAUSE_SECONDS
        return response

    def owner(self, authorization: str | None) -> Owner | None:
        """Return the account, while its token is not due for renewal."""
        return None if self._login.fresh_token is None else owner_of(authorization, self._account)

    async def _send(self, request: RestRequest, token: Token) -> Response:
        return await self._following.send(request.with_credential(token.authorization, self._account))

    async def aclose(self) -> None:
        """Cancel a running login and close the transport that follows."""
        await self._login.aclose()
        await self._following.aclose()


def token_request(username: str, password: str, timeout: float) -> Callable[[], RestRequest]:
    """Return a function that builds the documented login request: ``{"grant_type": "password", …}``.

    ``timeout`` is how long a login may take, retries included, in seconds.
    """
    body = msgspec.json.encode({"grant_type": "password", "username": username, "password": password})
    headers = HeaderLines.of({"content-type": "application/json", "accept": "application/json"}.items())

    def build() -> RestRequest:
        call = Call(asyncio.get_running_loop().time() + timeout, timeout)
        return RestRequest("POST", TOKEN.path(), None, headers, body, route=TOKEN, call=call)

    return build
