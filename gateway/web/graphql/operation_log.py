"""Reports each operation when it is over: one log line, the metrics and its span.

Of what a client wrote only the operation's name is reported, cut to a maximum: no document, variable or credential.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

import msgspec
from graphql import OperationType
from prometheus_client.core import Metric

from gateway.errors import GatewayError, InternalError
from gateway.execution.documents.cache import DIGEST_LENGTH, digest_of
from gateway.execution.documents.persisted import PersistedOperation
from gateway.execution.operation import Operation
from gateway.execution.result import Result
from gateway.schema.resolvers.context import Execution, OperationContext
from gateway.telemetry import LEVEL_NAMES, encode_value, log_fields, log_line, logger, time_member
from gateway.telemetry.metrics import Durations, Metrics, counter, gauge
from gateway.telemetry.tracing import OperationFacts, OperationSpan, Tracing
from gateway.upstream.call import CallReports, ResponseOrigin, outcome_of
from gateway.web.request import HttpError

DISCONNECTED = "CLIENT_DISCONNECTED"
"""The code of an operation whose client disconnected before the response was complete."""

_OK = "OK"
_MAX_NAME_CHARACTERS = 100
_TYPES = (*(each.value for each in OperationType), Execution().type)
_STATUSES = (200, 304, 400, 401, 403, 405, 406, 413, 414, 415, 429, 500, 503)
_MOST_KNOWN = 1000

Payload = dict[str, Any]


class OperationReporter:
    """Reports operations. One of ``slow`` seconds or more is logged as a warning, with each of its REST calls."""

    def __init__(
        self,
        slow: float,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tracing = tracing
        self._slow = slow
        self._clock = clock
        self._in_flight = 0
        self._operations: Counter[tuple[str, ...]] = Counter()
        self._responses: Counter[int] = Counter()
        self._durations = None if metrics is None else self._register(metrics)

    def report(
        self, operation: Operation, context: OperationContext, headers: Mapping[str, str], work: Awaitable[Result]
    ) -> Awaitable[Result]:
        """Return the result of ``work``, which executes ``operation``, and report it.

        ``headers`` are the request's, which may name a trace. With incremental delivery the operation is over after the
        last payload; its span ends with the initial one.
        """
        if self._tracing is None:
            return self._report(operation, context, work, None)
        return self._trace(self._tracing, operation, context, headers, work)

    async def _trace(
        self,
        tracing: Tracing,
        operation: Operation,
        context: OperationContext,
        headers: Mapping[str, str],
        work: Awaitable[Result],
    ) -> Result:
        with tracing.operation(headers) as span:
            return await self._report(operation, context, work, span)

    async def _report(
        self, operation: Operation, context: OperationContext, work: Awaitable[Result], span: OperationSpan | None
    ) -> Result:
        started = self._clock()
        self._in_flight += 1

        def over(codes: tuple[str, ...] | None) -> None:
            self._in_flight -= 1
            if codes is not None:
                self._over(operation, context, codes, self._clock() - started, span)

        try:
            result = await work
        except HttpError:
            over(None)  # it was not executed: `refused` reports it
            raise
        except asyncio.CancelledError:
            over((DISCONNECTED,))
            raise
        except Exception:
            over((InternalError.code,))
            raise
        if result.subsequent is None:
            over(result.codes)
            return result
        if span is not None:
            span.record(_facts(operation, context, result.codes))
        codes = result.codes
        ended = _OnEnd(result.subsequent, lambda complete: over(codes if complete else (*codes, DISCONNECTED)))
        return msgspec.structs.replace(result, subsequent=ended)

    def count(self, kind: str, codes: tuple[str, ...]) -> None:
        """Count an operation that is reported elsewhere, by its type and the codes of its errors."""
        self._operations[kind, codes[0] if codes else _OK] += 1

    def responded(self, status: int) -> None:
        """Count a response by its HTTP status."""
        self._responses[status] += 1

    def refused(self, request_id: str, exc: HttpError) -> None:
        """Log a request that was refused before an operation was executed."""
        fields = {"requestId": request_id, "status": exc.status, "errors": [exc.error.code]}
        log_fields(logging.INFO, "refused", fields)

    def _over(
        self,
        operation: Operation,
        context: OperationContext,
        codes: tuple[str, ...],
        seconds: float,
        span: OperationSpan | None,
    ) -> None:
        execution = context.execution
        self.count(execution.type, codes)
        if self._durations is not None:
            self._durations.observe(seconds, execution.type, execution.executor)
        if span is not None:
            span.record(_facts(operation, context, codes))
        slow = seconds >= self._slow
        level = logging.WARNING if slow else logging.INFO
        if logger.isEnabledFor(level):
            ended = _Ended(
                time.time_ns(),
                level,
                context.request_id,
                execution,
                execution.name or operation.name,
                execution.document or _document(operation),
                context.viewer.caller,
                seconds,
                context.call.reports,
                codes,
            )
            if span is not None:
                ended.span = span.ids
            log_line(level, ended)

    def _register(self, metrics: Metrics) -> Durations:
        metrics.add(self._metrics)
        return metrics.durations(
            "operation_duration_seconds", "How long operations took, by type and executor.", ("type", "executor")
        )

    def _metrics(self) -> Iterator[Metric]:
        yield counter(
            "operations",
            "Operations by type, and by the code of their first error or OK.",
            ("type", "code"),
            self._operations.copy(),
            list(product(_TYPES, (_OK, DISCONNECTED, *sorted(_codes())))),
        )
        yield gauge("operations_in_flight", "Operations that are under way.", (), {(): self._in_flight})
        responses: Counter[tuple[str, ...]] = Counter()
        for status, number in self._responses.copy().items():
            responses[(outcome_of(status),)] += number
        statuses = [(str(status),) for status in _STATUSES]
        yield counter("http_responses", "Responses of /graphql by HTTP status.", ("status",), responses, statuses)


def _codes() -> set[str]:
    """Return the codes of all errors that a client can get."""
    codes: set[str] = set()
    classes: list[type[GatewayError]] = [GatewayError]
    for each in classes:
        codes.add(each.code)
        classes += each.__subclasses__()
    return codes


class _Calls(msgspec.Struct, frozen=True, gc=False):
    """The REST calls of an operation that had one route, source and outcome."""

    route: str
    source: ResponseOrigin
    outcome: str
    calls: int


class _Shared(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the log says of an operation and of others like it. It begins a line, after the time."""

    level: str
    logger: str
    message: str
    operation: str | None
    type: str
    document: str | None
    executor: str
    upstream: tuple[_Calls, ...]
    errors: tuple[str, ...]
    reason: str | None = None


def _shared_members(shared: _Shared) -> bytes:
    return encode_value(shared)[1:-1] + b","


_known_shared_members = lru_cache(_MOST_KNOWN)(_shared_members)
"""Only of operations without errors: the lists of codes can be long, and differ."""


class _Own(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    """What the log says of one operation alone. It ends a line."""

    request_id: str
    caller: str | None
    ms: float
    writes: list[dict[str, str]] | None = None
    trace_id: str | None = None
    span_id: str | None = None
    explain: list[dict[str, Any]] | None = None


class _Ended(msgspec.Struct, gc=False):
    """What the log says of an operation that is over. It holds neither the document nor a variable."""

    at: int
    """In nanoseconds since 1970."""
    level: int
    request_id: str
    execution: Execution
    name: str | None
    document: str | None
    caller: str | None
    seconds: float
    reports: CallReports
    codes: tuple[str, ...]
    span: tuple[str, str] | None = None

    def line(self) -> bytes:
        """Return the line as a JSON object."""
        execution, name, slow = self.execution, self.name, self.level == logging.WARNING
        own = _Own(self.request_id, self.caller, round(self.seconds * 10_000) / 10)
        if execution.writes:
            own.writes = [{"mutation": mutation, "outcome": outcome} for mutation, outcome in execution.writes]
        if self.span is not None:
            own.trace_id, own.span_id = self.span
        if slow:
            own.explain = [report.as_dict() for report in self.reports]
        shared = _Shared(
            LEVEL_NAMES[self.level],
            logger.name,
            "slow operation" if slow else "operation",
            name and name[:_MAX_NAME_CHARACTERS],
            execution.type,
            self.document,
            execution.executor,
            _counted(self.reports),
            self.codes,
            execution.reason,
        )
        members = _shared_members if self.codes else _known_shared_members
        return time_member(self.at) + members(shared) + encode_value(own)[1:]


def _facts(operation: Operation, context: OperationContext, codes: tuple[str, ...]) -> OperationFacts:
    execution = context.execution
    return OperationFacts(
        request_id=context.request_id,
        name=execution.name or operation.name,
        type=execution.type,
        document=execution.document or _document(operation),
        executor=execution.executor,
        codes=codes,
    )


def _document(operation: Operation) -> str | None:
    """Return the digest of a document that was not executed: the client's own where the request has no text."""
    if operation.document:
        return digest_of(operation.document)
    return operation.called.digest[:DIGEST_LENGTH] if isinstance(operation, PersistedOperation) else None


def _counted(reports: CallReports) -> tuple[_Calls, ...]:
    """Count the REST calls by route, origin and outcome, in a list: log search needs keys that are known in advance."""
    if len(reports) == 1:
        (report,) = reports
        return (_Calls(report.route, report.origin, report.outcome, 1),)
    calls: dict[tuple[str, ResponseOrigin, str], int] = {}
    for report in reports:
        kind = report.route, report.origin, report.outcome
        calls[kind] = calls.get(kind, 0) + 1
    return tuple(_Calls(*kind, number) for kind, number in calls.items())


class _OnEnd(AsyncGenerator[Payload, None]):
    """Passes payloads on, and calls ``over`` once at the end, with whether all of them were taken.

    A generator function would not do: one that is closed before its first step never runs its ``finally``.
    """

    def __init__(self, payloads: AsyncGenerator[Payload, None], over: Callable[[bool], None]) -> None:
        self._payloads = payloads
        self._over: Callable[[bool], None] | None = over

    async def asend(self, value: None) -> Payload:
        try:
            return await self._payloads.asend(value)
        except StopAsyncIteration:
            self._end(complete=True)
            raise

    async def athrow(self, *raised: Any) -> Payload:
        return await self._payloads.athrow(*raised)

    async def aclose(self) -> None:
        """Close the payloads. After the last one this reports nothing."""
        try:
            await self._payloads.aclose()
        finally:
            self._end(complete=False)

    def _end(self, *, complete: bool) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(complete)
