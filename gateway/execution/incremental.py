"""Incremental delivery: ``@defer`` and ``@stream`` send the slow parts of a response later (graphql-spec, #742).

A payload has the proposal's newer form (``pending``, ``incremental`` by ``id``, ``completed``). It also has the whole
``path`` and the ``label`` of its data, which is all that clients of the older form need (``deferSpec=20220824``). There
the path of ``items`` ends with the index of the first one, which graphql-core does not report: so items are counted.
The errors of a part that a null removed as a whole are in ``completed``, which those clients do not read. So they get
them in an entry of ``incremental`` without data as well, unless the client names the newer form.
A client that accepts no incremental delivery gets everything at once, which the proposal allows.
"""

from collections.abc import AsyncGenerator
from contextlib import suppress
from inspect import isawaitable
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    IncrementalStreamResult,
    InitialIncrementalExecutionResult,
    SubsequentIncrementalExecutionResult,
)

from gateway.compat.graphql_core import PendingResult, execute_incrementally
from gateway.execution.documents.incremental_directives import without_inner_streams
from gateway.execution.operation import Operation
from gateway.execution.result import Result, completed, format_error
from gateway.schema.resolvers.context import OperationContext

Payload = dict[str, Any]
Path: TypeAlias = list[str | int]
_Delivered: TypeAlias = list[tuple[Path, Any]]
"""The values of one payload with their paths. The items of a stream are a dictionary by index."""


async def deliver_incrementally(
    schema: GraphQLSchema, document: DocumentNode, operation: Operation, context: OperationContext
) -> Result:
    """Return the result, or its first payload with the others to follow. Deferred calls begin at once.

    The caller has to close ``subsequent``.
    """
    outcome = execute_incrementally(
        schema,
        without_inner_streams(document),
        context_value=context,
        variable_values=operation.variables,
        operation_name=operation.name,
        enable_early_execution=True,
    )
    try:
        if isawaitable(outcome):
            outcome = await outcome
    except BaseException:
        context.loaders.close()
        raise
    if isinstance(outcome, ExecutionResult):
        context.loaders.close()
        return completed(outcome.data, outcome.errors, context.request_id)
    delivery = _Delivery(outcome.initial_result, outcome.subsequent_results, context)
    first = completed(outcome.initial_result.data, outcome.initial_result.errors, context.request_id)
    first.payload.update(delivery.first())
    return Result(first.payload, codes=first.codes, subsequent=delivery.subsequent())


class _Delivery:
    """The payloads of one operation, with the paths and labels of the pending ones."""

    def __init__(
        self,
        first: InitialIncrementalExecutionResult,
        subsequent: AsyncGenerator[SubsequentIncrementalExecutionResult, None],
        context: OperationContext,
    ) -> None:
        self._first = first
        self._subsequent = subsequent
        self._context = context
        self._pending: dict[str, PendingResult] = {}
        self._sent: dict[str, int] = {}
        """How many items of each streamed list were sent."""

    def first(self) -> Payload:
        """Return what the first payload has beside its data."""
        announced = self._announce(self._first.pending)
        self._count_first_items([([], self._first.data)])
        return {"pending": announced, "hasNext": True}

    async def subsequent(self) -> AsyncGenerator[Payload, None]:
        """Yield the other payloads. Closing this cancels the calls that are still running."""
        try:
            async for each in self._subsequent:
                yield self._payload(each)
        finally:
            await self._subsequent.aclose()
            self._context.loaders.close()

    def _payload(self, each: SubsequentIncrementalExecutionResult) -> Payload:
        payload: Payload = {}
        if each.pending:
            payload["pending"] = self._announce(each.pending)
        if each.incremental:
            delivered: _Delivered = []
            payload["incremental"] = [self._incremental(one, delivered) for one in each.incremental]
            self._count_first_items(delivered)
        if each.completed:
            payload["completed"] = [{"id": one.id, **self._errors(one.errors)} for one in each.completed]
            failed = [self._failed(one) for one in payload["completed"] if "errors" in one]
            if failed and not self._context.execution.reads_completed:
                payload["incremental"] = [*payload.get("incremental", ()), *failed]
        return {**payload, "hasNext": each.has_next}

    def _failed(self, completed: Payload) -> Payload:
        """Return the errors of a part that has no data, as an entry of ``incremental``."""
        return {"path": [*self._pending[completed["id"]].path], **completed}

    def _incremental(self, one: Any, delivered: _Delivered) -> Payload:
        """Return the payload's entry for ``one``, and add its value to ``delivered``."""
        pending = self._pending[one.id]
        path: Path = [*pending.path, *(one.sub_path or ())]
        if isinstance(one, IncrementalStreamResult):
            if one.id not in self._sent:  # announced in the same payload
                self._count_first_items(delivered)
            start = self._sent[one.id]
            self._sent[one.id] = start + len(one.items)
            delivered.append((path, dict(enumerate(one.items, start))))
            path, content = [*path, start], {"items": one.items}
        else:
            delivered.append((path, one.data))
            content = {"data": one.data}
        payload: Payload = {"id": one.id, "path": path}
        if one.sub_path:
            payload["subPath"] = one.sub_path
        if pending.label is not None:
            payload["label"] = pending.label
        return {**payload, **content, **self._errors(one.errors)}

    def _count_first_items(self, delivered: _Delivered) -> None:
        """Note how many items of each announced list were sent with the object that it belongs to."""
        for id_, pending in self._pending.items():
            if id_ not in self._sent:
                self._sent[id_] = _length_at(list(pending.path), delivered)

    def _announce(self, pending: list[PendingResult]) -> list[Payload]:
        self._pending.update((each.id, each) for each in pending)
        return [dict(each.formatted) for each in pending]

    def _errors(self, errors: list[GraphQLError] | None) -> Payload:
        if not errors:
            return {}
        return {"errors": [format_error(error, self._context.request_id) for error in errors]}


def _length_at(path: Path, delivered: _Delivered) -> int:
    """Return the length of the list at ``path``; 0 where there is none."""
    for base, value in delivered:
        found = value
        with suppress(KeyError, IndexError, TypeError):
            if path[: len(base)] == base:
                for step in path[len(base) :]:
                    found = found[step]
                if isinstance(found, list):
                    return len(found)
    return 0
