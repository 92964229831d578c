"""Runs one operation of any kind for a transport that can send several results: events, parts, or messages.

A query or a mutation takes the same way as over plain HTTP. A subscription's results come encoded, and the next one is
asked for when the client has taken the last: a slow client gets fewer of them, and always the latest.
"""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from graphql import OperationType

from gateway.errors import GatewayError, InternalError
from gateway.execution.documents.persisted import PersistedOperation
from gateway.execution.operation import Operation
from gateway.execution.result import Result, failed
from gateway.execution.subscriptions import EndReason, Subscriber, Subscription, Subscriptions
from gateway.telemetry import logger
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.streams.report import StreamReporter
from gateway.web.rate_limit import Admission
from gateway.web.request import HttpError, HttpRequest

Errors = list[dict[str, Any]]


class Sink(Protocol):
    """Where the results of one operation go."""

    async def send(self, result: bytes) -> None:
        """Send an encoded result; return when the client has taken it."""

    async def refuse(self, errors: Errors) -> None:
        """Send the errors of an operation that does not begin, or does not go on. No result follows."""


@dataclass(frozen=True, slots=True)
class StreamRunner:
    """What runs the operations of every transport."""

    runner: OperationRunner
    subscriptions: Subscriptions
    reporter: StreamReporter

    async def resolve(self, operation: Operation) -> tuple[Operation, OperationType | None]:
        """Return the operation with its document, and its type; None for one that is refused: to run it says why."""
        resolved = operation
        if isinstance(operation, PersistedOperation):
            try:
                resolved = await self.runner.persisted.resolve(operation)
            except GatewayError:
                return operation, None
        return resolved, self.runner.type_of(resolved)


class StreamedOperation:
    """One operation, and where its results go. `run` is called once."""

    def __init__(
        self, streams: StreamRunner, operation: Operation, request: HttpRequest, admission: Admission, transport: str
    ) -> None:
        self.type: OperationType | None = None
        """Its type, once it is known; None for one that is refused."""
        self.stopped_by = EndReason.CLIENT
        """Why a subscription ends when `run` is cancelled."""
        self._streams = streams
        self._operation = operation
        self._request = request
        self._admission = admission
        self._transport = transport
        self._subscription: Subscription | None = None
        self._ended: EndReason | None = None
        self._is_settled = False

    async def run(self, sink: Sink) -> EndReason | None:
        """Send all results, and return why the subscription ended, None for any other operation.

        A bug is logged, and the client gets an error. To cancel it ends a subscription.
        """
        try:
            return await self._run(sink)
        except HttpError as exc:
            await sink.refuse(self._errors(exc.error))
        except Exception as exc:  # noqa: BLE001 - the outermost boundary of an operation: the log gets the details
            logger.error("an operation failed", exc_info=exc, extra={"fields": {"requestId": self._request.id}})
            await sink.refuse(self._errors(InternalError()))
        return None

    def end(self, reason: EndReason) -> None:
        """End a subscription, also one that begins only now; `run` then returns."""
        self._ended = self._ended or reason
        if self._subscription is not None:
            self._subscription.end(reason)

    async def _run(self, sink: Sink) -> EndReason | None:
        try:
            resolved, self.type = await self._streams.resolve(self._operation)
            if self.type is OperationType.SUBSCRIPTION:
                return await self._subscribe(resolved, sink)
            runner = self._streams.runner
            result = await runner.run(self._operation, self._request, self._admission, incremental=runner.incremental)
        finally:
            await self._settle()
        await _send(result, sink)
        return None

    async def _subscribe(self, resolved: Operation, sink: Sink) -> EndReason | None:
        viewer = self._admission.viewer
        subscriber = Subscriber(viewer, self._request.id, self._request.address)
        subscription = await self._streams.subscriptions.subscribe(resolved, subscriber)
        if isinstance(subscription, Result):
            self._streams.reporter.refused(resolved, self._request.id, viewer, subscription.codes)
            await sink.refuse(subscription.payload["errors"])
            return None
        self._subscription = subscription
        with self._streams.reporter.open(subscription, self._request.id, viewer, self._transport) as report:
            try:
                if self._ended is not None:
                    subscription.end(self._ended)
                async for result in subscription:
                    is_last = subscription.ended is not None
                    if not report.results:
                        await self._first_result(subscription)
                    report.results += 1
                    if is_last:
                        errors = msgspec.json.decode(result)["errors"]
                        report.codes = tuple(each["extensions"]["code"] for each in errors)
                        await sink.refuse(errors)
                    else:
                        await sink.send(self._explained(result, subscription))
            finally:
                subscription.end(self.stopped_by)
        return subscription.ended

    def _explained(self, result: bytes, subscription: Subscription) -> bytes:
        """Return an encoded result; with its timeline in its extensions, if the request asks for that."""
        timeline = subscription.timeline
        if timeline is None or not self._streams.runner.is_explained(self._request):
            return result
        explained = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
        shown = timeline.shown(self._streams.subscriptions.now())
        return msgspec.json.encode({**explained, "extensions": {"timeline": shown}})

    async def _first_result(self, subscription: Subscription) -> None:
        """Do what follows the execution of an operation: the REST API has answered the caller, or it has not."""
        self._admission.record(subscription.reports)
        await self._settle()
        if isinstance(self._operation, PersistedOperation):
            await self._streams.runner.persisted.register(self._operation, self._admission.viewer, subscription.reports)

    async def _settle(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            await self._admission.settle()

    def _errors(self, error: GatewayError) -> Errors:
        errors: Errors = failed(error, self._request.id).payload["errors"]
        return errors


async def _send(result: Result, sink: Sink) -> None:
    """Send all payloads of a query or a mutation, of which there are several with incremental delivery."""
    if result.subsequent is None:
        if result.is_request_error:
            await sink.refuse(result.payload["errors"])
        else:
            await sink.send(msgspec.json.encode(result.payload))
        return
    async with aclosing(result.subsequent):
        await sink.send(msgspec.json.encode(result.payload))
        async for payload in result.subsequent:
            await sink.send(msgspec.json.encode(payload))
