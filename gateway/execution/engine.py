"""Runs an operation: find the document, choose the operation, run its plan or else the reference executor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar

import msgspec
from graphql import GraphQLError, GraphQLField, OperationType
from graphql.execution import VariableValues, get_argument_values, get_variable_values
from prometheus_client.core import Metric

from gateway.compat.graphql_core import execute_counted, execute_incrementally, fragments_of
from gateway.compat.strawberry import graphql_schema
from gateway.errors import BadUserInput, GatewayError, RequestError, ResponseTooLarge
from gateway.execution.attribution import explain_calls
from gateway.execution.cost.breakdown import breakdown
from gateway.execution.cost.call_fields import Asker
from gateway.execution.cost.policy import CostLimiter, CostPolicy
from gateway.execution.documents.cache import DocumentCache, ValidDocument
from gateway.execution.documents.incremental_directives import without_incremental_directives
from gateway.execution.documents.limits import Limits
from gateway.execution.documents.trusted import TrustedDocuments
from gateway.execution.incremental import deliver_incrementally
from gateway.execution.operation import Operation
from gateway.execution.plans.answers import find_answer, keep_answer
from gateway.execution.plans.cache import PlanCounters, Planner
from gateway.execution.plans.gaps import StoodAside
from gateway.execution.result import Result, completed, refused, release, too_large
from gateway.execution.selection import NotPlannable, Selection
from gateway.execution.variables import Variables
from gateway.schema import FederatedSchema
from gateway.schema.resolvers.context import Execution, OperationContext
from gateway.schema.resolvers.links import python_arguments
from gateway.telemetry import logger
from gateway.telemetry.metrics import counter, gauge
from gateway.telemetry.tracing import Tracing

P = ParamSpec("P")
T = TypeVar("T")


class Prepared(msgspec.Struct, frozen=True):
    """An operation that may begin, with its document, its variables and its predicted cost."""

    operation: Operation
    document: ValidDocument
    variables: Variables
    predicted: int | None

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return f"Prepared({self.operation!r})"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How operations are executed. ``incremental`` offers @defer and @stream.

    With ``plans``, an ordinary operation is answered by a compiled plan. The response is the same, byte for byte.
    """

    document_cache_size: int = 1000
    plans: bool = True
    introspection: bool = True
    incremental: bool = False


class Engine:
    """Executes operations. The reference executor, Strawberry's schema on graphql-core, defines what they mean."""

    def __init__(
        self,
        schema: FederatedSchema,
        options: EngineOptions,
        *,
        limits: Limits | None = None,
        costs: CostPolicy | None = None,
        trusted: TrustedDocuments | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._schema = graphql_schema(schema)
        self.documents = DocumentCache(
            self._schema,
            size=options.document_cache_size,
            limits=limits,
            introspection=options.introspection,
            trusted=trusted,
        )
        # `execute` refuses a schema with @defer. The other accepts it, and returns one result if nothing is deferred.
        reference: Callable[..., Any] = execute_incrementally if options.incremental else execute_counted
        self._reference = partial(reference, hide_suggestions=not options.introspection)
        self._costs = CostLimiter(self._schema, costs or CostPolicy())
        self.counters = PlanCounters()
        self._planner = Planner(self._schema) if options.plans else None
        self._tracing = tracing

    async def execute(self, operation: Operation, context: OperationContext, *, incremental: bool = False) -> Result:
        """Return the result of ``operation``, with every failure in it. Calls that are still running are cancelled.

        With ``incremental`` it may be the first of several payloads. The caller has to close the others.
        """
        try:
            document = self._document(operation, context)
            answer = find_answer(document, operation, context)
            if answer is not None:
                self.counters.planned += 1
                context.execution.executor = "plan"
                return self._costs.with_cost(Result({"data": answer.data}), answer.predicted, context)
            prepared = self._prepared(document, operation, context)
            _refuse_subscription(context.execution)
        except RequestError as exc:
            return refused(exc, context.request_id)
        if incremental and prepared.document.is_incremental:
            result = await self._run_incrementally(prepared, context)
        else:
            try:
                result = await self.run(prepared, context)
                keep_answer(document, operation, context, result, prepared.predicted)
                self._explain_calls(prepared, context)
            finally:
                context.loaders.close()
        return self._costs.with_cost(result, prepared.predicted, context)

    def prepare(self, operation: Operation, context: OperationContext) -> Prepared:
        """Return what is needed to execute an operation; raise RequestError if it may not begin."""
        return self._prepared(self._document(operation, context), operation, context)

    def read(self, operation: Operation, context: OperationContext) -> Prepared:
        """Return an operation as `prepare` does, but without its cost: it need not be executed."""
        document = self._document(operation, context)
        return Prepared(operation, document, self._variables(document, operation), None)

    def explain(self, prepared: Prepared, context: OperationContext, times: int = 1) -> Result:
        """Return the predicted REST calls of an operation; the errors with which it may not begin stand beside them.

        ``times`` is how often it is executed at once. Raises RequestError if its variables are wrong.
        """
        document, name = prepared.document, prepared.operation.name
        prediction = self._costs.explain(document, name, self._values(prepared), context)
        execution = context.execution
        payload = {"operation": {"type": execution.type, "name": execution.name}}
        payload |= breakdown(prediction, self._costs.policy)
        try:
            self._costs.require(prediction.total, document, name, times)
        except RequestError as exc:
            refusal = refused(exc, context.request_id)
            return msgspec.structs.replace(refusal, payload={**refusal.payload, **payload})
        return Result(payload)

    def _prepared(self, document: ValidDocument, operation: Operation, context: OperationContext) -> Prepared:
        variables = self._variables(document, operation)
        predicted = self._costs.predict(document, operation.name, variables, context)
        return Prepared(operation, document, variables, predicted)

    def _document(self, operation: Operation, context: OperationContext) -> ValidDocument:
        """Return the document of an operation, and note what the log says of it."""
        execution = context.execution
        document = self._traced("document", self.documents.get, operation.document)
        execution.name, execution.document = operation.name, document.digest
        node = document.operation(operation.name)
        execution.type = node.operation.value
        if node.name is not None:
            execution.name = node.name.value
        return document

    def _variables(self, document: ValidDocument, operation: Operation) -> Variables:
        variables = self.documents.variables(document, operation.name, operation.variables)
        variables.require_places(operation.uploads)
        return variables

    def _traced(self, name: str, step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Return what a step of the gateway's own work returns; with traces it has a span."""
        if self._tracing is None:
            return step(*args, **named)
        with self._tracing.step(name):
            return step(*args, **named)

    def _explain_calls(self, prepared: Prepared, context: OperationContext) -> None:
        values = prepared.variables.values
        if context.execution.explain and values is not None:
            calls = self._costs.calls(prepared.document, prepared.operation.name, values)
            context.execution.calls = explain_calls(calls, self._schema, Asker(context, values))

    def is_subscription(self, operation: Operation) -> bool:
        """Return whether an operation is a subscription; raise RequestError if its document is refused."""
        return self.documents.get(operation.document).operation(operation.name).operation is OperationType.SUBSCRIPTION

    def subscription_field(self, prepared: Prepared) -> tuple[GraphQLField, dict[str, Any]]:
        """Return the one root field of a subscription, and its arguments by their Python names.

        Raises RequestError if the operation has no such field, or its variables or arguments are wrong.
        """
        operation = prepared.document.operation(prepared.operation.name)
        values = self._values(prepared)
        selection = Selection(self._schema, fragments_of(prepared.document.node), operation, values)
        of = selection.root_type
        for selected, *_others in selection.root(of).values():
            field = of.fields[selected.node.name.value]
            try:
                return field, python_arguments(field, get_argument_values(field, selected.node, values))
            except GraphQLError as exc:
                raise RequestError([exc], BadUserInput.code) from exc
        raise RequestError([GraphQLError("The subscription selects nothing.")], BadUserInput.code)

    def _values(self, prepared: Prepared) -> VariableValues:
        """Return the values of the variables; raise RequestError with what is wrong with them."""
        values = prepared.variables.values
        if values is None:
            definitions = prepared.document.operation(prepared.operation.name).variable_definitions or ()
            errors = get_variable_values(self._schema, definitions, prepared.operation.variables or {})
            raise RequestError(errors if isinstance(errors, list) else [], BadUserInput.code)
        return values

    def require_cost(self, prepared: Prepared, times: int) -> None:
        """Raise RequestError if an operation that is executed several times at once costs too much."""
        self._costs.require(prepared.predicted, prepared.document, prepared.operation.name, times)

    async def _run_incrementally(self, prepared: Prepared, context: OperationContext) -> Result:
        context.execution.executor, context.execution.reason = "reference", "incremental delivery"
        return await deliver_incrementally(self._schema, prepared.document.node, prepared.operation, context)

    async def run(self, prepared: Prepared, context: OperationContext) -> Result:
        """Return the result of an operation that may begin. The caller closes the loaders of ``context``."""
        result = None
        if self._planner is not None:
            result = await self._run_plan(self._planner, prepared, context)
        if result is None:
            result = await self._run_reference(prepared, context)
        await context.pace.turn()
        return self._encoded(result, prepared, context)

    def _encoded(self, result: Result, prepared: Prepared, context: OperationContext) -> Result:
        """Return the result with its data encoded, or the error of a response that is too large."""
        budget = context.budget
        error = budget.exceeded
        if error is None and "data" in result.payload:
            data = msgspec.json.encode(result.payload["data"])
            if len(data) <= budget.limits.bytes:
                result.payload["data"] = msgspec.Raw(data)
            else:
                error = budget.limits.error
        if error is None:
            return result
        release(error)
        return too_large(error, prepared.document.root_path(prepared.operation.name), context.request_id)

    async def _run_plan(self, planner: Planner, prepared: Prepared, context: OperationContext) -> Result | None:
        """Return the plan's result, None if the reference has to execute the operation."""
        try:
            operation = prepared.operation
            plan, values = self._traced("plan", planner.choose, prepared.document, operation.name, prepared.variables)
            if not plan.scopes <= context.viewer.scopes:
                raise StoodAside("scope")  # noqa: TRY301 - logged and counted like every other reason
            data = await plan.run(context, values)
        except NotPlannable as exc:
            reason = str(exc)
            self.counters.not_plannable[reason] += 1
        except ResponseTooLarge as exc:
            context.execution.executor = "plan"
            return too_large(exc, prepared.document.root_path(prepared.operation.name), context.request_id)
        except Exception as exc:  # noqa: BLE001 - the reference reports whatever a plan cannot do
            reason = _reason(exc)
            self.counters.stood_aside[reason] += 1
            release(exc)
        else:
            self.counters.planned += 1
            context.execution.executor = "plan"
            return Result({"data": data})
        context.execution.reason = reason
        return None

    async def _run_reference(self, prepared: Prepared, context: OperationContext) -> Result:
        context.execution.executor = "reference"
        document = prepared.document
        outcome = self._reference(
            self._schema,
            without_incremental_directives(document.node) if document.is_incremental else document.node,
            context_value=context,
            variable_values=prepared.operation.variables,
            operation_name=prepared.operation.name,
        )
        if isawaitable(outcome):
            outcome = await outcome
        errors = outcome.errors
        if context.budget.exceeded is not None:
            for error in errors or ():
                release(error)
            errors = None  # `_encoded` returns the only one
        return completed(outcome.data, errors, context.request_id)


_SUBSCRIPTION = OperationType.SUBSCRIPTION.value


def _refuse_subscription(execution: Execution) -> None:
    if execution.type == _SUBSCRIPTION:
        message = (
            "This operation is a subscription, which has many results: send it over a WebSocket "
            "(graphql-transport-ws), or with `Accept: text/event-stream` or `Accept: multipart/mixed`."
        )
        raise RequestError([GraphQLError(message)], BadUserInput.code)


def _reason(exc: Exception) -> str:
    """Return why a plan stood aside. An exception that no upstream response explains is a bug, and is logged."""
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


_REASONS = ("a large response", "arguments", "failure", "scope", "unexpected value", "variables")


def engine_metrics(engine: Engine) -> Iterator[Metric]:
    """Yield how operations were executed, and how many documents are cached. They are read at each scrape."""
    counters = engine.counters
    executions: dict[tuple[str, ...], float] = {("planned", ""): counters.planned}
    # Why there is no plan names types and fields of the schema, so those series are not known from the start.
    known = [("stood_aside", reason) for reason in _REASONS]
    for result, reasons in (("stood_aside", counters.stood_aside), ("not_plannable", counters.not_plannable)):
        executions.update({(result, reason): number for reason, number in reasons.copy().items()})
    yield counter(
        "plans",
        "Operations by whether a plan answered them, and for what reason not.",
        ("result", "reason"),
        executions,
        known,
    )
    yield gauge("documents_kept", "Documents that are kept, parsed and validated.", (), {(): engine.documents.kept})
