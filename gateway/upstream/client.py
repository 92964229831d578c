"""The REST client: the only place that translates failures of calls into our errors.

Bodies are returned as bytes: the caller knows which fields are selected, and decodes only those.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gateway import __version__
from gateway.auth import Viewer
from gateway.errors import GatewayError, InternalError
from gateway.http1 import CallFailed, HeaderLines, OutOfDescriptors, Response
from gateway.telemetry import Shortage
from gateway.upstream.call import (
    CANCELLED,
    Call,
    CallReport,
    CallReports,
    ResponseOrigin,
    RestRequest,
    Transport,
    outcome_of,
)
from gateway.upstream.contract import CUSTOMER, MESSAGES, THREAD, Read, Write
from gateway.upstream.response import body_or_error, translate

_HEADERS = HeaderLines.of({"accept": "application/json", "user-agent": f"gochat-gateway/{__version__}"}.items())

_JSON_HEADERS = _HEADERS + HeaderLines.of([("content-type", "application/json")])

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
    fresh: bool = False
    """Whether responses must not be older than their requests, as after a write."""


class UpstreamClient:
    """The Go!Chat REST API. Every method raises a GatewayError for any failure, and nothing else.

    ``transport`` is the whole stack of `gateway.upstream.stack`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._shortage = Shortage("REST calls fail")
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
        viewer = caller.viewer
        request = RestRequest(
            "GET",
            route.target(identifier, query),
            viewer.authorization,
            _HEADERS,
            route=route,
            call=Call(caller.deadline, _timeout(caller)),
            subject=route.subject.of(identifier),
            caller=viewer.caller,
            fresh=caller.fresh,
        )
        return body_or_error(await self._send(request, caller.reports))

    async def post(self, caller: CallContext, route: Write, identifier: str, content: bytes) -> Response:
        """Send JSON to a route of the contract, and return the response, whatever its status.

        ``in_doubt`` of the GatewayError that is raised for a call without a response says whether it may have arrived.
        """
        viewer = caller.viewer
        call = Call(caller.deadline, _timeout(caller))
        request = RestRequest(
            "POST",
            route.path(identifier),
            viewer.authorization,
            _JSON_HEADERS,
            content,
            on_send=call.note_sent,
            new_connection=True,
            route=route,
            call=call,
            caller=viewer.caller,
        )
        return await self._send(request, caller.reports)

    async def _send(self, request: RestRequest, reports: CallReports) -> Response:
        """Return the response before the deadline of the call, and report the call."""
        call, route = request.call, request.route.template
        started = time.perf_counter()
        status, outcome = None, CANCELLED
        try:
            async with asyncio.timeout_at(call.deadline):
                response = await self._transport.send(request)
            status = response.status
            outcome = outcome_of(status)
        except GatewayError as exc:
            outcome, exc.in_doubt = exc.code, call.in_doubt
            raise
        except (CallFailed, TimeoutError) as exc:
            if isinstance(exc, OutOfDescriptors):
                self._shortage.report()
            error = translate(exc)
            outcome, error.in_doubt = error.code, call.in_doubt
            raise error from exc
        except Exception:
            outcome = InternalError.code
            raise
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            self.calls[route, call.origin, outcome] += 1
            reports.append(CallReport(route, status, milliseconds, call.attempts, call.origin, call.age, outcome))
        return response

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
