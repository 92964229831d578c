"""Basic authentication upstream, without ever locking the account.

The REST API locks an account after too many logins with a wrong password, and every call with Basic credentials is a
login. So credentials that have not been seen to work are tried by one call alone; the calls that come meanwhile wait
for its verdict, and where it is 401 they fail with it and are not sent. One query for a hundred threads with a
mistyped password is one wrong login, not a hundred. How the header is spelled makes no other credentials.

    unknown ──first call──▶ on trial ──any answer but 401, not from the cache──▶ proven ──401──▶ unknown
                               └──401──▶ rejected for ``pause`` seconds ──▶ unknown
"""

import asyncio
import hashlib
import secrets
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable

import httpx

from gateway.auth.passthrough import normalized
from gateway.errors import Unauthenticated, UpstreamFailure
from gateway.upstream.call import call_of
from gateway.upstream.credentials.login_lock import InTurn, SharedLogins

_MOST_REMEMBERED = 10_000


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
    """Lets unproven Basic credentials through once at a time; see the top of this file.

    ``pause`` is how long a rejection is remembered, in seconds. It is 0 for callers' own credentials, where only the
    calls that waited share the verdict; ``clock`` is monotonic, in seconds. ``others`` are those who use the same
    account, where it is the gateway's own.
    """

    def __init__(
        self,
        following: httpx.AsyncBaseTransport,
        pause: float = 0,
        clock: Callable[[], float] = time.monotonic,
        others: SharedLogins | None = None,
    ) -> None:
        self._others = others or InTurn()
        self._following = following
        self._pause = pause
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._trials: dict[bytes, asyncio.Future[bool]] = {}
        self._rejected_until: dict[bytes, float] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, or raise Unauthenticated where the same credentials have just been rejected."""
        authorization = request.headers.get("authorization", "")
        if authorization[:6].lower() != "basic ":
            return await self._following.handle_async_request(request)
        credentials = hashlib.blake2b(normalized(authorization), key=self._key, digest_size=16).digest()
        await self._wait_for_verdict(credentials)
        if credentials in self._proven:
            response = await self._following.handle_async_request(request)
            self._learn(credentials, request, response)
            return response
        return await self._try(credentials, request)

    def rejected(self) -> bool:
        """Return whether a rejection is remembered; with no ``pause`` none ever is."""
        return any(self._clock() < until for until in self._rejected_until.values())

    @property
    def token_age(self) -> float | None:
        """There is no token."""
        return None

    async def _wait_for_verdict(self, credentials: bytes) -> None:
        """Return when the credentials may be sent: they are proven, or it is this call's turn to try them."""
        while credentials not in self._proven:
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
            async with self._others.turn() as turn:
                if turn.rejected_for is not None:
                    self._rejected_until[credentials] = self._clock() + turn.rejected_for
                    raise _rejection(turn.rejected_for)
                response = await self._following.handle_async_request(request)
                rejected = response.status_code == httpx.codes.UNAUTHORIZED
                if rejected and self._pause:
                    await turn.reject(self._pause)
            self._learn(credentials, request, response)
        finally:
            # A call that failed on the way proves nothing: the next one in line tries.
            del self._trials[credentials]
            trial.set_result(rejected)
        return response

    def _learn(self, credentials: bytes, request: httpx.Request, response: httpx.Response) -> None:
        if call_of(request).age is not None:
            return  # the answer is from the cache, of a time when the password may have been another
        if response.status_code != httpx.codes.UNAUTHORIZED:
            self._proven[credentials] = None
            self._proven.move_to_end(credentials)
            if len(self._proven) > _MOST_REMEMBERED:
                self._proven.popitem(last=False)
            return
        self._proven.pop(credentials, None)
        if self._pause:
            self._rejected_until[credentials] = self._clock() + self._pause

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._others.aclose()
        await self._following.aclose()


def _rejection(retry_after: float | None) -> Unauthenticated:
    if retry_after is None:
        return Unauthenticated(upstream=UpstreamFailure(httpx.codes.UNAUTHORIZED))
    return Unauthenticated(
        "The REST API rejected the gateway's own account. It is not tried again before the pause is over, "
        "because too many wrong logins lock it.",
        retry_after=retry_after,
    )
