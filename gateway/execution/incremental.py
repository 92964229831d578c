"""``@defer`` and ``@stream``: an answer in parts, the slow ones later (graphql-spec, proposal #742).

A part is in the proposal's newer form (``pending``, ``incremental`` by ``id``, ``completed``). Each also tells the
whole ``path`` and the ``label`` of what it brings, which is all that clients of the older form need
(``deferSpec=20220824``).
A client that takes no parts gets everything at once, which the proposal allows.
"""

from collections.abc import AsyncGenerator
from inspect import isawaitable
from typing import Any

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
from gateway.execution.result import Result, completed, format_error
from gateway.schema.resolvers.context import OperationContext

Part = dict[str, Any]


async def execute_in_parts(
    schema: GraphQLSchema,
    document: DocumentNode,
    variables: dict[str, Any] | None,
    name: str | None,
    context: OperationContext,
) -> Result:
    """Return the result, or its first part with the others to follow. Deferred calls begin at once, like all others.

    Whoever gets ``following`` has to close it.
    """
    outcome = execute_incrementally(
        schema,
        document,
        context_value=context,
        variable_values=variables,
        operation_name=name,
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
    parts = _Parts(outcome.initial_result, outcome.subsequent_results, context)
    first = completed(outcome.initial_result.data, outcome.initial_result.errors, context.request_id)
    first.payload.update(parts.first())
    return Result(first.payload, codes=first.codes, following=parts.following())


class _Parts:
    """The parts of one operation, with the paths and labels of those that are announced."""

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

    def first(self) -> Part:
        """Return what the first part says beside its data."""
        return {"pending": self._announce(self._first.pending), "hasNext": True}

    async def following(self) -> AsyncGenerator[Part, None]:
        """Yield the other parts; where nobody wants more of them, the calls under way are given up."""
        try:
            async for each in self._subsequent:
                yield self._part(each)
        finally:
            await self._subsequent.aclose()
            self._context.loaders.close()

    def _part(self, each: SubsequentIncrementalExecutionResult) -> Part:
        part: Part = {}
        if each.pending:
            part["pending"] = self._announce(each.pending)
        if each.incremental:
            part["incremental"] = [self._incremental(one) for one in each.incremental]
        if each.completed:
            part["completed"] = [{"id": one.id, **self._errors(one.errors)} for one in each.completed]
        return {**part, "hasNext": each.has_next}

    def _incremental(self, one: Any) -> Part:
        pending = self._pending[one.id]
        part: Part = {"id": one.id, "path": [*pending.path, *(one.sub_path or ())]}
        if one.sub_path:
            part["subPath"] = one.sub_path
        if pending.label is not None:
            part["label"] = pending.label
        return {**part, **_content(one), **self._errors(one.errors)}

    def _announce(self, pending: list[PendingResult]) -> list[Part]:
        self._pending.update((each.id, each) for each in pending)
        return [dict(each.formatted) for each in pending]

    def _errors(self, errors: list[GraphQLError] | None) -> Part:
        if not errors:
            return {}
        return {"errors": [format_error(error, self._context.request_id) for error in errors]}


def _content(one: Any) -> Part:
    return {"items": one.items} if isinstance(one, IncrementalStreamResult) else {"data": one.data}
