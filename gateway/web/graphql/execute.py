"""Step 4 of the endpoint: execute the operation, or the batch of them, while the client is connected."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphql import OperationType

from gateway.errors import BadUserInput, GatewayError, RequestError
from gateway.execution.attribution import MAX_CALLS
from gateway.execution.documents.persisted import (
    DocumentResolver,
    PersistedOperation,
)
from gateway.execution.engine import Engine
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed
from gateway.schema.resolvers.context import ContextFactory, OperationContext
from gateway.upstream.call import ResponseOrigin
from gateway.web.graphql.batching import Batch, run_batch
from gateway.web.graphql.multipart import accepts_multipart, reads_completed
from gateway.web.graphql.negotiation import bounded
from gateway.web.graphql.operation_log import OperationReporter
from gateway.web.rate_limit import Admission
from gateway.web.request import HttpError, HttpRequest, while_connected

_STALE = ResponseOrigin.STALE  # a member of an enumeration is found by two look-ups


@dataclass(frozen=True, slots=True)
class OperationRunner:
    """Runs operations, and reports each of them when it is over."""

    engine: Engine
    contexts: ContextFactory
    persisted: DocumentResolver
    reporter: OperationReporter
    incremental: bool = False
    """Whether @defer and @stream are enabled."""
    explain: bool = False
    """Whether a request may ask for its REST calls with ``Gateway-Explain: 1``."""

    async def execute(
        self, requested: Operation | Batch, request: HttpRequest, admission: Admission
    ) -> tuple[Result, ...]:
        """Return the result of each operation.

        Raises HttpError where HTTP forbids the operation, ClientDisconnected where the client hangs up.
        """
        if isinstance(requested, Batch):
            run = partial(self.run, request=request, admission=admission)
            return await while_connected(request.receive, run_batch(requested, run, request.id))
        incremental = self.incremental and accepts_multipart(request)
        work = self.run(requested, request, admission, incremental=incremental)
        return (await while_connected(request.receive, work),)

    async def run(
        self, operation: Operation, request: HttpRequest, admission: Admission, *, incremental: bool = False
    ) -> Result:
        """Return the result of one operation; HttpError where HTTP forbids it."""
        timeout = _timeout(request.headers.get("gateway-timeout"))
        context = self.contexts.build(admission.viewer, request.id, timeout)
        work = self._execute(operation, context, request, incremental=incremental)
        try:
            return await self.reporter.report(operation, context, request.headers, work)
        finally:
            admission.record(context.reports)

    async def _execute(
        self, operation: Operation, context: OperationContext, request: HttpRequest, *, incremental: bool
    ) -> Result:
        named = operation if isinstance(operation, PersistedOperation) else None
        if named is not None:
            try:
                operation = await self.persisted.resolve(named)
            except GatewayError as exc:
                return failed(exc, context.request_id, is_unanswerable=isinstance(exc, BadUserInput))
        if request.method == "GET" and self.type_of(operation) not in {OperationType.QUERY, None}:
            raise HttpError(405, BadUserInput("Only queries can be sent with GET."), {"allow": "POST"})
        context.execution.explain = self.is_explained(request)
        context.execution.reads_completed = incremental and reads_completed(bounded(request.headers.get("accept")))
        result = await self.engine.execute(operation, context, incremental=incremental)
        if named is not None:
            await self.persisted.register(named, context.viewer, context.reports)
        result.payload.update(_extensions(context))
        return result

    def is_explained(self, request: HttpRequest) -> bool:
        """Return whether a request asks how its results come about, and may know it."""
        return self.explain and request.headers.get("gateway-explain") == "1"

    def type_of(self, operation: Operation) -> OperationType | None:
        """Return the type of an operation with its document; None for one that is refused: the engine says why."""
        try:
            return self.engine.documents.get(operation.document).operation(operation.name).operation
        except RequestError:
            return None


def _timeout(value: str | None) -> float | None:
    """Return the seconds that the caller gives the operation; HttpError 400 where that is not a positive number."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise HttpError(400, BadUserInput("`Gateway-Timeout` must be a number of seconds above 0, such as 2.5."))
    return seconds


def _extensions(context: OperationContext) -> dict[str, Any]:
    """Return what the response says of its REST calls: always the stale ones, and all of them if it is to explain."""
    reports, execution = context.reports, context.execution
    stale = [report.as_dict() for report in reports if report.origin is _STALE]
    extensions: dict[str, Any] = {}
    if stale:
        extensions["stale"] = [{"route": each["route"], "ageSeconds": each["ageSeconds"]} for each in stale]
    if execution.explain:
        calls = execution.calls
        extensions["upstream"] = [each.as_dict() for each in reports[:MAX_CALLS]] if calls is None else calls
        if len(reports) > MAX_CALLS:
            extensions["moreCalls"] = len(reports) - MAX_CALLS
    return {"extensions": extensions} if extensions else {}
