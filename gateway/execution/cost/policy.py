"""Lets an operation begin, or not, by what it will cost: the REST calls it is predicted to make."""

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, GraphQLSchema

from gateway.errors import CostTooHigh
from gateway.execution.cost.estimate import BEYOND, OperationCost
from gateway.execution.documents.cache import RequestError, ValidDocument
from gateway.execution.result import Cost, Result
from gateway.schema.resolvers.context import OperationContext
from gateway.settings import CostMode, Settings
from gateway.upstream.call import Origin

# Where nothing is refused, the limit may be set too low by some way: that far it is worth to know the number.
_MEASURED = 5


@dataclass(frozen=True, slots=True)
class CostPolicy:
    """What is done about the cost of operations; the settings ``GATEWAY_COST_…`` say what each means."""

    mode: CostMode = CostMode.OFF
    most: int = BEYOND
    list_size: int = 1

    @property
    def counted(self) -> int:
        """How far calls are counted: a small operation can ask for so many that to count them takes a tenth second."""
        return min(self.most * _MEASURED, BEYOND - 1) if self.mode is CostMode.MEASURE else self.most


def cost_policy(settings: Settings) -> CostPolicy:
    """Return what ``settings`` ask for."""
    return CostPolicy(settings.cost_mode, settings.max_cost, settings.cost_list_size)


@dataclass(frozen=True, slots=True)
class Admission:
    """Predicts what operations cost."""

    schema: GraphQLSchema
    policy: CostPolicy

    def predict(
        self, document: ValidDocument, name: str | None, inputs: dict[str, Any] | None, context: OperationContext
    ) -> int | None:
        """Return the prediction, None where nobody wants one; RequestError where it is more than is allowed."""
        if self.policy.mode is CostMode.OFF:
            return None
        cost: OperationCost | None = document.costs.get(name)
        if cost is None:
            operation = document.operation(name)
            cost = document.costs[name] = OperationCost(self.schema, document.node, operation, self.policy.list_size)
        most = self.policy.most
        predicted = cost.predict(context, inputs, self.policy.counted)
        if predicted > most and self.policy.mode is CostMode.ENFORCE:
            message = f"The operation is predicted to make {predicted} REST calls or more; at most {most} are allowed."
            raise RequestError(CostTooHigh.code, [GraphQLError(message)])
        return predicted

    def with_cost(self, result: Result, predicted: int, context: OperationContext) -> Result:
        """Return the result with what was predicted, and what was made of it."""
        made = None if result.following else sum(report.origin is Origin.FETCHED for report in context.trace)
        return Result(
            result.payload,
            result.is_request_error,
            result.is_unanswerable,
            result.codes,
            result.following,
            Cost(predicted, made, predicted > self.policy.counted),
        )
