"""The REST client: the only place that translates httpx errors into ours.

Bodies are returned as bytes: the caller knows which fields are selected, and decodes only those.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from gateway import __version__
from gateway.auth import Viewer
from gateway.compat.httpx import GetRequest, RestUrl
from gateway.errors import GatewayError, InternalError, UpstreamInvalidResponse, UpstreamTimeout, UpstreamUnavailable
from gateway.upstream.call import CANCELLED, EXTENSION, Call, CallReport, CallReports, ResponseOrigin, outcome_of
from gateway.upstream.contract import CUSTOMER, MESSAGES, THREAD, Read
from gateway.upstream.response import body_or_error

_HEADERS = httpx.Headers(
    {"accept": "application/json", "user-agent": f"gochat-gateway/{__version__}"},
    encoding="ascii",  # httpx would otherwise detect it for each request
)

NO_QUERY: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class CallContext:
    """The viewer and the deadline of a call; ``deadline`` is a time of the running event loop, in seconds."""

    viewer: Viewer
    deadline: float
    reports: CallReports = field(default_factory=list)
    """Gets a report of each call when it ends."""
    timeout: float | None = None
    """The operation's own timeout in seconds, if the caller chose an earlier deadline."""


class UpstreamClient:
    """The Go!Chat REST API. Every method raises a GatewayError for any failure, and nothing else.

    ``transport`` is the whole stack of `gateway.upstream.stack`. Calls go directly to it, without `httpx.AsyncClient`:
    that saves half the cost of a call (tests/bench/transports.py). It also excludes cookies, which callers must not
    share, and redirects.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, base_url: str, timeout: httpx.Timeout) -> None:
        self._transport = transport
        self._base_url = httpx.URL(base_url)
        self._timeout = timeout.as_dict()
        self.calls: Counter[tuple[str, ResponseOrigin, str]] = Counter()
        """The number of calls by route, origin and outcome."""

    async def thread(self, caller: CallContext, thread_id: str) -> bytes | None:
        """``GET /api/v1/thread/{id}``: the body of a Thread, or None where there is none."""
        return await self.get(caller, THREAD, thread_id)

    async def messages(self, caller: CallContext, thread_id: str, offset: int, limit: int) -> bytes | None:
        """``GET /api/v1/thread/{id}/messages``: the body ``{"messages": [Message], "total": int}``."""
        return await self.get(caller, MESSAGES, thread_id, {"offset": offset, "limit": limit})

    async def customer(self, caller: CallContext, external_id: str) -> bytes | None:
        """``GET /api/v1/customers/{customer_external_id}``: the body with ``customer``, ``custom_fields``, …."""
        return await self.get(caller, CUSTOMER, external_id)

    async def get(
        self, caller: CallContext, route: Read, identifier: str, query: Mapping[str, int] = NO_QUERY
    ) -> bytes | None:
        """Return the body of a route of the contract for one id, None for a 404; ``query`` is its query string."""
        target = route.target(identifier, query)
        subject = route.subject.of(identifier)
        call = Call(route.template, caller.deadline, subject, timeout=_timeout(caller), caller=caller.viewer.caller)
        url = RestUrl(self._base_url, target)
        request = GetRequest(url, _headers(caller.viewer), {"timeout": self._timeout, EXTENSION: call})
        started = time.perf_counter()
        status, outcome = None, CANCELLED
        try:
            async with asyncio.timeout_at(caller.deadline):
                response = await self._transport.handle_async_request(request)
            status = response.status_code
            outcome = outcome_of(status)
        except GatewayError as exc:
            outcome = exc.code
            raise
        except Exception as exc:
            outcome = InternalError.code  # stays if `translate` raises
            error = translate(exc)
            outcome = error.code
            raise error from exc
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            self.calls[call.route, call.origin, outcome] += 1
            caller.reports.append(
                CallReport(call.route, status, milliseconds, call.attempts, call.origin, call.age, outcome)
            )
        return body_or_error(response)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _timeout(caller: CallContext) -> float:
    if caller.timeout is not None:
        return caller.timeout
    return caller.deadline - asyncio.get_running_loop().time()


def _headers(viewer: Viewer) -> httpx.Headers:
    headers = _HEADERS.copy()
    if viewer.authorization is not None:
        headers["authorization"] = viewer.authorization
    return headers


def translate(exc: Exception) -> GatewayError:
    """Return our error for an exception of the HTTP client; re-raise any other."""
    match exc:
        case TimeoutError() | httpx.TimeoutException():
            return UpstreamTimeout()
        case httpx.DecodingError() | httpx.RemoteProtocolError():
            return UpstreamInvalidResponse()
        case httpx.HTTPError() | httpx.StreamError() | httpx.InvalidURL():
            return UpstreamUnavailable()
        case _:
            raise exc
