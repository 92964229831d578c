"""Basic authentication upstream that cannot lock the account.

The REST API locks an account after too many logins with a wrong password, and every call with Basic credentials is a
login. So one call tries credentials that have not been accepted before. Other calls with them wait for its result, and
after a 401 they fail without being sent. A query for a hundred threads with a wrong password is one wrong login, not a
hundred. Different spellings of a header count as the same credentials.

    unknown ──first call──▶ on trial ──any answer but 401, not from the cache──▶ accepted
       ▲                       └──401──▶ rejected for ``pause`` seconds ◀──401──────┘
       └───────────────────────────────────────┘

The password may change while many calls with accepted credentials wait for a slot of the bulkhead, or before a retry.
So each of them has a permit, which the first 401 revokes. The permit is checked when a call has its slot, and it is
revoked before the slot of the 401 is released. So only calls that already have a slot are sent with the old password.
The other processes that use the same account learn of it, and revoke theirs.
"""

import asyncio
import hashlib
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from cachetools import LRUCache

from gateway.auth.passthrough import normalized
from gateway.errors import GatewayError, Unauthenticated, UpstreamFailure
from gateway.http1 import Response
from gateway.upstream.call import Credentials, Owner, RestRequest, Transport, owner_of
from gateway.upstream.credentials.failed_login import FailedLogin
from gateway.upstream.credentials.login_lock import LoginLock, NestedLoginLock

_MAX_ACCEPTED = 10_000


@dataclass(slots=True, eq=False)
class _Permit:
    """The right to send credentials; all calls that were admitted by the same acceptance share it."""

    guard: "BasicLoginGuard"
    credentials: bytes
    revoked: bool = False
    told: bool = False
    """Whether the other processes know that it was revoked."""

    def check(self) -> None:
        """Raise Unauthenticated if the credentials were rejected after the call was admitted."""
        if self.revoked:
            raise self.guard.rejection(self.credentials)

    def on_status(self, status: int) -> None:
        """Revoke the permit if the REST API rejected the credentials."""
        if status == HTTPStatus.UNAUTHORIZED and not self.revoked:
            self.revoked = True
            self.guard.reject(self)


class BasicAccount:
    """Sends the gateway's own Basic credentials with every request (RFC 7617)."""

    def __init__(self, following: Credentials, username: str, password: str) -> None:
        self._following = following
        self._authorization = "Basic " + b64encode(f"{username}:{password}".encode()).decode()

    async def send(self, request: RestRequest) -> Response:
        """Send the request with the credentials."""
        return await self._following.send(request.with_credential(self._authorization))

    def owner(self, authorization: str | None) -> Owner | None:  # noqa: ARG002 - the protocol's signature
        """Return the owner of what these credentials get, while they are accepted."""
        return self._following.owner(self._authorization)

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


class BasicLoginGuard:
    """Lets one call at a time try unknown Basic credentials; see the top of this file.

    ``pause`` is how long a rejection is remembered, in seconds. For callers' own credentials it is 0: only the calls
    that waited share the result. ``clock`` is monotonic, in seconds. ``lock`` is shared by all processes that use the
    gateway's own account.
    """

    def __init__(
        self,
        following: Transport,
        pause: float = 0,
        clock: Callable[[], float] = time.monotonic,
        lock: LoginLock | None = None,
    ) -> None:
        self._lock = lock or NestedLoginLock()
        self._following = following
        self._pause = pause
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._accepted: LRUCache[bytes, _Permit] = LRUCache(_MAX_ACCEPTED)
        self._trials: dict[bytes, asyncio.Future[bool]] = {}
        self._rejected_until: dict[bytes, float] = {}

    async def send(self, request: RestRequest) -> Response:
        """Send the request, or raise Unauthenticated if the same credentials have just been rejected."""
        credentials = self._credentials(request.authorization)
        if credentials is None:
            return await self._following.send(request)
        permit = await self._wait_for_trial(credentials)
        if permit is None:
            return await self._try(credentials, request)
        response = await self._send(permit, request)
        if permit.revoked and self._pause and not permit.told:
            permit.told = True
            await self._lock.tell(self._failed_login())
        return response

    def owner(self, authorization: str | None) -> Owner | None:
        """Return the owner, unless the credentials are Basic and not accepted."""
        credentials = self._credentials(authorization)
        return owner_of(authorization) if credentials is None or credentials in self._accepted else None

    def _credentials(self, authorization: str | None) -> bytes | None:
        """Return the name of Basic credentials, None for any other."""
        if authorization is None or authorization[:6].lower() != "basic ":
            return None
        return hashlib.blake2b(normalized(authorization), key=self._key, digest_size=16).digest()

    def rejected(self) -> bool:
        """Return whether a rejection is remembered; without a ``pause`` there is none."""
        return any(self._clock() < until for until in self._rejected_until.values())

    @property
    def token_age(self) -> float | None:
        """There is no token."""
        return None

    def rejection(self, credentials: bytes) -> GatewayError:
        """Return the error for calls with rejected credentials."""
        remaining = self._rejected_until.get(credentials, -1.0) - self._clock()
        if remaining > 0:
            return FailedLogin(remaining, HTTPStatus.UNAUTHORIZED).error()
        return Unauthenticated(upstream=UpstreamFailure(HTTPStatus.UNAUTHORIZED))

    def reject(self, permit: _Permit) -> None:
        """Remember that the REST API rejected the credentials of a permit."""
        if self._accepted.get(permit.credentials) is permit:
            del self._accepted[permit.credentials]
        if self._pause:
            self._rejected_until[permit.credentials] = self._clock() + self._pause

    def _failed_login(self) -> FailedLogin:
        return FailedLogin(self._pause, HTTPStatus.UNAUTHORIZED)

    async def _wait_for_trial(self, credentials: bytes) -> _Permit | None:
        """Return the permit of accepted credentials; None if this call is the one to try them."""
        while (permit := self._accepted.get(credentials)) is None:
            if self._clock() < self._rejected_until.get(credentials, -1.0):
                raise self.rejection(credentials)
            trial = self._trials.get(credentials)
            if trial is None:
                return None
            if await asyncio.shield(trial):
                raise self.rejection(credentials)
        failed = await self._lock.failed() if self._pause else None
        if failed is not None and failed.rejected and not permit.revoked:
            permit.revoked = permit.told = True
            self.reject(permit)
            self._rejected_until[credentials] = self._clock() + failed.seconds
        permit.check()
        return permit

    async def _try(self, credentials: bytes, request: RestRequest) -> Response:
        trial = self._trials[credentials] = asyncio.get_running_loop().create_future()
        permit = _Permit(self, credentials)
        try:
            async with self._lock.attempt() as attempt:
                if attempt.failed is not None:
                    if attempt.failed.rejected:
                        self._rejected_until[credentials] = self._clock() + attempt.failed.seconds
                    raise attempt.failed.error()
                response = await self._send(permit, request)
                if permit.revoked and self._pause:
                    await attempt.fail(self._failed_login())
            # A cached response does not prove that the password is still valid.
            if not permit.revoked and request.call.age is None:
                self._accepted[credentials] = permit
        finally:
            # A call that failed otherwise decides nothing: the next waiting call tries.
            del self._trials[credentials]
            trial.set_result(permit.revoked)
        return response

    async def _send(self, permit: _Permit, request: RestRequest) -> Response:
        call = request.call
        call.before_send, call.on_status = permit.check, permit.on_status
        response = await self._following.send(request)
        permit.on_status(response.status)  # of a call that was coalesced with one of an earlier permit
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._lock.aclose()
        await self._following.aclose()
