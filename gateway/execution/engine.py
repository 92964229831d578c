"""Runs an operation: find the document, choose the operation, run its plan or else the reference executor."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any

import msgspec
from graphql import GraphQLError, execute

from gateway.compat.graphql_core import execute_incrementally
from gateway.compat.strawberry import graphql_schema
from gateway.errors import GatewayError
from gateway.execution.cost.policy import Admission, CostPolicy
from gateway.execution.documents.cache import RequestError, ValidDocument
from gateway.execution.documents.incremental_directives import in_one_part
from gateway.execution.documents.limits import Limits
from gateway.execution.documents.trusted import TrustedDocuments
from gateway.execution.incremental import execute_in_parts
from gateway.execution.operation import Operation
from gateway.execution.plans.cache import PlanCounters, Planner, StoodAside
from gateway.execution.result import Result, completed, refused
from gateway.execution.selection import NotPlannable
from gateway.execution.traced import documents_class, planner_of
from gateway.schema import FederatedSchema
from gateway.schema.resolvers.context import OperationContext
from gateway.telemetry import logger
from gateway.telemetry.tracing import Tracing


class Engine:
    """Executes operations. Strawberry's schema on graphql-core is the truth about what they mean: the reference.

    With ``plans``, an ordinary operation is answered by a compiled plan; the answer is the same, byte for byte.
    """

    def __init__(  # noqa: PLR0913 - all but the schema are options by name, most of them settings
        self,
        schema: FederatedSchema,
        *,
        document_cache_size: int,
        limits: Limits | None = None,
        plans: bool = True,
        introspection: bool = True,
        incremental: bool = False,
        costs: CostPolicy | None = None,
        trusted: TrustedDocuments | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._schema = graphql_schema(schema)
        self.documents = documents_class(tracing)(
            self._schema, size=document_cache_size, limits=limits, introspection=introspection, trusted=trusted
        )
        # The one refuses a schema with @defer; the other takes it, and has one part for who does not defer.
        reference: Callable[..., Any] = execute_incrementally if incremental else execute
        self._reference = partial(reference, hide_suggestions=not introspection)
        self._admission = Admission(self._schema, costs or CostPolicy())
        self.counters = PlanCounters()
        self._planner = planner_of(self._schema, tracing) if plans else None

    async def execute(self, operation: Operation, context: OperationContext, *, in_parts: bool = False) -> Result:
        """Return the result of ``operation``; every failure is inside it. Calls left under way are given up.

        With ``in_parts`` it may be the first part, with others to follow, which the caller has to close.
        """
        try:
            document, predicted = self._admitted(operation, context)
        except RequestError as exc:
            return refused(exc, context.request_id)
        if in_parts and document.asks_for_parts:
            return await self._run_in_parts(document, predicted, operation, context)
        try:
            result = await self._run(document, operation, context)
        finally:
            context.loaders.close()
        return result if predicted is None else self._admission.with_cost(result, predicted, context)

    async def _run_in_parts(
        self, document: ValidDocument, predicted: int | None, operation: Operation, context: OperationContext
    ) -> Result:
        context.execution.executor, context.execution.reason = "reference", "in parts"
        result = await execute_in_parts(self._schema, document.node, operation.variables, operation.name, context)
        return result if predicted is None else self._admission.with_cost(result, predicted, context)

    def _admitted(self, operation: Operation, context: OperationContext) -> tuple[ValidDocument, int | None]:
        """Return the document of an operation that may begin, and its predicted cost; RequestError for any other."""
        execution = context.execution
        document = self.documents.get(operation.document)
        execution.name, execution.document = operation.name, document.digest
        node = document.operation(operation.name)
        execution.type = node.operation.value
        if node.name is not None:
            execution.name = node.name.value
        self.documents.check_variables(document, operation.name, operation.variables)
        return document, self._admission.predict(document, operation.name, operation.variables, context)

    async def _run(self, document: ValidDocument, operation: Operation, context: OperationContext) -> Result:
        if self._planner is not None:
            result = await self._run_plan(self._planner, document, operation, context)
            if result is not None:
                return result
        return await self._run_reference(document, operation, context)

    async def _run_plan(
        self, planner: Planner, document: ValidDocument, operation: Operation, context: OperationContext
    ) -> Result | None:
        """Return the plan's result, None where the operation is for the reference."""
        try:
            plan, variables = planner.choose(document, operation.name, operation.variables)
            if not plan.scopes <= context.viewer.scopes:
                raise StoodAside("scope")  # noqa: TRY301 - told and counted like every other reason
            data = await plan.run(context, variables)
        except NotPlannable as exc:
            reason = str(exc)
            self.counters.not_plannable[reason] += 1
        except Exception as exc:  # noqa: BLE001 - whatever a plan cannot do, the reference can say what is wrong
            reason = _reason(exc)
            self.counters.stood_aside[reason] += 1
        else:
            self.counters.planned += 1
            context.execution.executor = "plan"
            return Result({"data": data})
        context.execution.reason = reason
        return None

    async def _run_reference(self, document: ValidDocument, operation: Operation, context: OperationContext) -> Result:
        context.execution.executor = "reference"
        outcome = self._reference(
            self._schema,
            in_one_part(document.node) if document.asks_for_parts else document.node,
            context_value=context,
            variable_values=operation.variables,
            operation_name=operation.name,
        )
        if isawaitable(outcome):
            outcome = await outcome
        return completed(outcome.data, outcome.errors, context.request_id)


def _reason(exc: Exception) -> str:
    """Return why a plan stood aside; a surprise that no upstream answer explains is a bug, and is logged."""
    match exc:
        case StoodAside():
            return str(exc)
        case GatewayError():
            return exc.code
        case msgspec.MsgspecError() | UnicodeDecodeError() | RecursionError():
            return "unexpected value"
        case GraphQLError():
            return "arguments"
    logger.warning("a plan failed; the reference answers", exc_info=exc)
    return "failure"
