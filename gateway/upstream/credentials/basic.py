"""Basic authentication upstream that cannot lock the account.

The REST API locks an account after too many logins with a wrong password, and every call with Basic credentials is a
login. So one call tries credentials that have not been accepted before. Other calls with them wait for its result, and
after a 401 they fail without being sent. A query for a hundred threads with a wrong password is one wrong login, not a
hundred. Different spellings of a header count as the same credentials.

    unknown ──first call──▶ on trial ──any answer but 401, not from the cache──▶ accepted ──401──▶ unknown
                               └──401──▶ rejected for ``pause`` seconds ──▶ unknown
"""

import asyncio
import hashlib
import secrets
import time
from base64 import b64encode
from collections.abc import Callable

import httpx
from cachetools import LRUCache

from gateway.auth.passthrough import normalized
from gateway.errors import GatewayError, Unauthenticated, UpstreamFailure
from gateway.upstream.call import call_of
from gateway.upstream.credentials.failed_login import FailedLogin
from gateway.upstream.credentials.login_lock import LoginLock, NestedLoginLock

_MAX_ACCEPTED = 10_000


class BasicAccount(httpx.AsyncBaseTransport):
    """Sends the gateway's own Basic credentials with every request (RFC 7617)."""

    def __init__(self, following: httpx.AsyncBaseTransport, username: str, password: str) -> None:
        self._following = following
        self._authorization = "Basic " + b64encode(f"{username}:{password}".encode()).decode()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request with the credentials."""
        request.headers["authorization"] = self._authorization
        return await self._following.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


class BasicLoginGuard(httpx.AsyncBaseTransport):
    """Lets one call at a time try unknown Basic credentials; see the top of this file.

    ``pause`` is how long a rejection is remembered, in seconds. For callers' own credentials it is 0: only the calls
    that waited share the result. ``clock`` is monotonic, in seconds. ``lock`` is shared by all processes that use the
    gateway's own account.
    """

    def __init__(
        self,
        following: httpx.AsyncBaseTransport,
        pause: float = 0,
        clock: Callable[[], float] = time.monotonic,
        lock: LoginLock | None = None,
    ) -> None:
        self._lock = lock or NestedLoginLock()
        self._following = following
        self._pause = pause
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._accepted: LRUCache[bytes, None] = LRUCache(_MAX_ACCEPTED)
        self._trials: dict[bytes, asyncio.Future[bool]] = {}
        self._rejected_until: dict[bytes, float] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, or raise Unauthenticated if the same credentials have just been rejected."""
        authorization = request.headers.get("authorization", "")
        if authorization[:6].lower() != "basic ":
            return await self._following.handle_async_request(request)
        credentials = hashlib.blake2b(normalized(authorization), key=self._key, digest_size=16).digest()
        await self._wait_for_trial(credentials)
        if credentials in self._accepted:
            response = await self._following.handle_async_request(request)
            self._note_result(credentials, request, response)
            return response
        return await self._try(credentials, request)

    def rejected(self) -> bool:
        """Return whether a rejection is remembered; without a ``pause`` there is none."""
        return any(self._clock() < until for until in self._rejected_until.values())

    @property
    def token_age(self) -> float | None:
        """There is no token."""
        return None

    async def _wait_for_trial(self, credentials: bytes) -> None:
        """Return once the credentials may be sent: they are accepted, or this call is the one to try them."""
        while credentials not in self._accepted:
            until = self._rejected_until.get(credentials, -1.0)
            if self._clock() < until:
                raise _rejection(until - self._clock())
            trial = self._trials.get(credentials)
            if trial is None:
                return
            if await asyncio.shield(trial):
                raise _rejection(None)

    async def _try(self, credentials: bytes, request: httpx.Request) -> httpx.Response:
        trial = self._trials[credentials] = asyncio.get_running_loop().create_future()
        rejected = False
        try:
            async with self._lock.attempt() as attempt:
                if attempt.failed is not None:
                    if attempt.failed.rejected:
                        self._rejected_until[credentials] = self._clock() + attempt.failed.seconds
                    raise attempt.failed.error()
                response = await self._following.handle_async_request(request)
                rejected = response.status_code == httpx.codes.UNAUTHORIZED
                if rejected and self._pause:
                    await attempt.fail(FailedLogin(self._pause, httpx.codes.UNAUTHORIZED))
            self._note_result(credentials, request, response)
        finally:
            # A call that failed otherwise decides nothing: the next waiting call tries.
            del self._trials[credentials]
            trial.set_result(rejected)
        return response

    def _note_result(self, credentials: bytes, request: httpx.Request, response: httpx.Response) -> None:
        if call_of(request).age is not None:
            return  # a cached response does not prove that the password is still valid
        if response.status_code != httpx.codes.UNAUTHORIZED:
            self._accepted[credentials] = None
            return
        self._accepted.pop(credentials, None)
        if self._pause:
            self._rejected_until[credentials] = self._clock() + self._pause

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._lock.aclose()
        await self._following.aclose()


def _rejection(retry_after: float | None) -> GatewayError:
    if retry_after is None:
        return Unauthenticated(upstream=UpstreamFailure(httpx.codes.UNAUTHORIZED))
    return FailedLogin(retry_after, httpx.codes.UNAUTHORIZED).error()
