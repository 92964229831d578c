"""The REST client: the only place that translates failures of calls into our errors.

Bodies are returned as bytes: the caller knows which fields are selected, and decodes only those.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from gateway import __version__
from gateway.auth import Viewer
from gateway.errors import GatewayError, InternalError
from gateway.http1 import CallFailed, HeaderLines, OutOfDescriptors, Response, StreamedBody
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
from gateway.upstream.drift.comparison import Sample
from gateway.upstream.drift.sampling import DriftSampling
from gateway.upstream.response import body_or_error, translate
from gateway.upstream.transports.cache import CachedReads, FreshEntry

_HEADERS = HeaderLines.of({"accept": "application/json", "user-agent": f"gochat-gateway/{__version__}"}.items())

_JSON_HEADERS = _HEADERS + HeaderLines.of([("content-type", "application/json")])

T = TypeVar("T")

NO_QUERY: Mapping[str, int] = {}

_OK, _OK_OUTCOME = HTTPStatus.OK.value, outcome_of(HTTPStatus.OK)
_CACHED = ResponseOrigin.CACHED  # a member of an enumeration is found by two look-ups


class CallContext(msgspec.Struct, frozen=True):
    """The viewer and the deadline of a call; ``deadline`` is a time of the running event loop, in seconds."""

    viewer: Viewer
    deadline: float
    reports: CallReports = msgspec.field(default_factory=list)
    """Gets a report of each call when it ends."""
    timeout: float | None = None
    """The operation's own timeout in seconds, if the caller chose an earlier deadline."""
    fresh: bool = False
    """Whether responses must not be older than their requests, as after a write."""
    cause: tuple[str, ...] | None = None
    """The path of the field whose resolver makes the calls by itself, where one does."""
    samples: list[Sample] = msgspec.field(default_factory=list)
    """Gets the responses that are to be examined when the operation is over."""


class UpstreamClient:
    """The Go!Chat REST API. Every method raises a GatewayError for any failure, and nothing else.

    ``transport`` is the whole stack of `gateway.upstream.stack`; ``reads`` find what its cache holds in memory, and
    ``drift`` examines some responses.
    """

    def __init__(
        self, transport: Transport, reads: CachedReads | None = None, drift: DriftSampling | None = None
    ) -> None:
        self._transport = transport
        self._reads = reads
        self._drift = drift
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

    def get(
        self, caller: CallContext, route: Read, identifier: str, query: Mapping[str, int] = NO_QUERY
    ) -> "asyncio.Future[bytes | None]":
        """Begin a call of a route of the contract for one id; ``query`` is its query string.

        The future has the body, None for a 404. Cancelling it gives the call up, unless others share it.
        """
        return self._begin(_request(caller, route, identifier, query), caller, body_or_error)

    @property
    def has_cache(self) -> bool:
        """Whether `cached` and `made` may find anything."""
        return self._reads is not None

    def cached(
        self, caller: CallContext, route: Read, identifier: str, query: Mapping[str, int] = NO_QUERY
    ) -> FreshEntry | None:
        """Return the response that `get` would return from this process's memory; None if it would do more."""
        if self._reads is None or caller.fresh:
            return None
        return self._reads.find(caller.viewer.authorization, route, identifier, query)

    def keep(self, caller: CallContext, name: bytes, made: Any, size: int, entries: Sequence[FreshEntry]) -> None:
        """Keep what was made of responses that `cached` returned, as ``size`` bytes of the cache."""
        if self._reads is not None and entries:
            self._reads.keep(caller.viewer.authorization, name, made, size, entries)

    def made(self, caller: CallContext, name: bytes) -> Any:
        """Return what `keep` keeps by this name; None if `get` would return another response than it was made of.

        Each response is reported and counted, as `get` would.
        """
        if self._reads is None or caller.fresh:
            return None
        found = self._reads.made(caller.viewer.authorization, name)
        if found is None:
            return None
        made, entries = found
        now = time.perf_counter()
        for each in entries:
            route = each.route.template
            self.calls[route, _CACHED, _OK_OUTCOME] += 1
            caller.reports.append(CallReport(route, _OK, 0.0, 0, _CACHED, each.age, _OK_OUTCOME, "GET", "", now))
        return made

    async def post(self, caller: CallContext, route: Write, identifier: str, content: bytes | StreamedBody) -> Response:
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
        return await self._begin(request, caller, _whole)

    def examine(self, caller: CallContext) -> None:
        """Examine the responses that an operation has sampled, now that it is over."""
        if caller.samples and self._drift is not None:
            self._drift.examine(caller.samples)
            caller.samples.clear()

    def _begin(self, request: RestRequest, caller: CallContext, read: Callable[[Response], T]) -> "asyncio.Future[T]":
        report = partial(self._report, request, caller)
        return _Pending(self._transport, request, read, self._translated, report).result

    def _translated(self, exc: Exception) -> Exception:
        if isinstance(exc, OutOfDescriptors):
            self._shortage.report()
        return translate(exc) if isinstance(exc, (CallFailed, TimeoutError)) else exc

    def _report(
        self,
        request: RestRequest,
        caller: CallContext,
        response: Response | None,
        outcome: str,
        started: float,
        problem: str,
    ) -> None:
        call, route, status = request.call, request.route, None
        if response is not None:
            status = response.status
            if self._drift is not None and self._drift.wants(route, status, call.origin):
                caller.samples.append(Sample(route, request.target, status, response.body))
        self.calls[route.template, call.origin, outcome] += 1
        ms = (time.perf_counter() - started) * 1000
        end = status, ms, call.attempts, call.origin, call.age, outcome
        how = request.method, request.target, started, problem, caller.cause, call.circuit_open
        caller.reports.append(CallReport(route.template, *end, *how))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _whole(response: Response) -> Response:
    return response


def _request(caller: CallContext, route: Read, identifier: str, query: Mapping[str, int]) -> RestRequest:
    viewer = caller.viewer
    return RestRequest(
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


def _timeout(caller: CallContext) -> float:
    if caller.timeout is not None:
        return caller.timeout
    return caller.deadline - asyncio.get_running_loop().time()


class _Pending(Generic[T]):
    """A call under way, in a task of its own; ``result`` is done at the call's deadline at the latest.

    ``read`` makes the result of a response, ``translated`` the error of a failure, and ``report`` gets the response if
    there is one, the outcome, the start by `time.perf_counter` and the message of a failure, once.
    """

    __slots__ = ("_call", "_is_over", "_read", "_report", "_started", "_timer", "_translated", "_transport", "result")

    def __init__(
        self,
        transport: Transport,
        request: RestRequest,
        read: Callable[[Response], T],
        translated: Callable[[Exception], Exception],
        report: Callable[[Response | None, str, float, str], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._transport = transport
        self._read = read
        self._translated = translated
        self._report = report
        self._call = request.call
        self._is_over = False
        self._started = time.perf_counter()
        self.result: asyncio.Future[T] = loop.create_future()
        self.result.add_done_callback(self._left)
        self._timer = loop.call_at(self._call.deadline, self._late)
        self._call.task = loop.create_task(self._run(request))

    async def _run(self, request: RestRequest) -> None:
        try:
            response = await self._transport.send(request)
        except asyncio.CancelledError:
            self.result.cancel()
            raise
        except Exception as exc:  # noqa: BLE001 - it is raised where the result is awaited
            self._fail(exc)
        else:
            self._answer(response)

    def _answer(self, response: Response) -> None:
        if self._is_over or self.result.done():  # cancelled in this turn of the event loop: see `_left`
            return
        self._end(response, outcome_of(response.status))
        try:
            self.result.set_result(self._read(response))
        except GatewayError as exc:
            self.result.set_exception(exc.with_traceback(None))  # its frames hold the response, and this call
        except Exception as exc:  # noqa: BLE001 - a bug: nothing else would end the caller's wait
            self.result.set_exception(exc)

    def _fail(self, exc: Exception) -> None:
        if self._is_over or self.result.done():
            return
        error = self._translated(exc)
        outcome = InternalError.code
        if isinstance(error, GatewayError):
            outcome, error.in_doubt = error.code, self._call.in_doubt
            error.__traceback__ = None  # its frames hold what was received, and this call
        if error is not exc:
            error.__cause__ = exc
        self._end(None, outcome, error.message if isinstance(error, GatewayError) else "")
        self.result.set_exception(error)

    def _late(self) -> None:
        """Answer the caller at its deadline; the call goes on for others who share it."""
        self._fail(TimeoutError())
        self._call.leave()

    def _left(self, result: "asyncio.Future[T]") -> None:
        if result.cancelled() and not self._is_over:
            self._end(None, CANCELLED)
            self._call.leave()

    def _end(self, response: Response | None, outcome: str, problem: str = "") -> None:
        self._is_over = True
        self._timer.cancel()
        self._report(response, outcome, self._started, problem)
