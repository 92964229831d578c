"""Decides by its cost whether an operation may begin: the cost is the number of REST calls that it will make."""

from dataclasses import dataclass

import msgspec
from graphql import GraphQLError, GraphQLSchema
from graphql.execution import VariableValues

from gateway.errors import CostTooHigh, RequestError
from gateway.execution.cost.estimate import TOO_LARGE, CallsOfOperation, OperationCost, Prediction
from gateway.execution.documents.cache import ValidDocument
from gateway.execution.result import Cost, Result
from gateway.execution.variables import Variables
from gateway.schema.resolvers.context import OperationContext
from gateway.settings import CostMode, LimitSettings
from gateway.upstream.call import ResponseOrigin

# In the mode that only measures, the limit may be set too low. Calls are counted up to this multiple of it.
_MEASURED_MULTIPLE = 5
_FETCHED = ResponseOrigin.FETCHED  # a member of an enumeration is found by two look-ups


@dataclass(frozen=True, slots=True)
class CostPolicy:
    """The limit of the cost, and whether it is enforced; see the settings ``GATEWAY_COST_…``."""

    mode: CostMode = CostMode.OFF
    limit: int = TOO_LARGE
    list_size: int = 1

    @property
    def counted(self) -> int:
        """How far calls are counted: a small operation can have so many that counting takes a tenth of a second."""
        if self.mode is CostMode.MEASURE:
            return min(self.limit * _MEASURED_MULTIPLE, TOO_LARGE - 1)
        return self.limit


def cost_policy(settings: LimitSettings) -> CostPolicy:
    """Return the policy that ``settings`` ask for."""
    return CostPolicy(settings.cost_mode, settings.cost, settings.cost_list_size)


@dataclass(frozen=True, slots=True)
class CostLimiter:
    """Applies a policy to operations."""

    schema: GraphQLSchema
    policy: CostPolicy

    def predict(
        self, document: ValidDocument, name: str | None, variables: Variables, context: OperationContext
    ) -> int | None:
        """Return the predicted cost, None if the policy is off; raise RequestError if the cost is above the limit."""
        if self.policy.mode is CostMode.OFF:
            return None
        predicted = self.cost_of(document, name).predict(context, variables, self.policy.counted)
        self.require(predicted, document, name)
        return predicted

    def cost_of(self, document: ValidDocument, name: str | None) -> OperationCost:
        """Return the cost of an operation, which is kept with its document."""
        cost: OperationCost | None = document.costs.get(name)
        if cost is None:
            operation = document.operation(name)
            cost = document.costs[name] = OperationCost(self.schema, document.node, operation, self.policy.list_size)
        return cost

    def explain(
        self, document: ValidDocument, name: str | None, values: VariableValues, context: OperationContext
    ) -> Prediction:
        """Return the same prediction by route and by field, whatever the policy's mode is."""
        return self.cost_of(document, name).explain(context, values, self.policy.counted)

    def calls(self, document: ValidDocument, name: str | None, values: VariableValues) -> CallsOfOperation:
        """Return what may cause the operation's calls."""
        return self.cost_of(document, name).calls(values)

    def require(self, predicted: int | None, document: ValidDocument, name: str | None, times: int = 1) -> None:
        """Raise RequestError if an operation that is executed ``times`` at once costs more than the limit."""
        total = (predicted or 0) * times
        if total > self.policy.limit and self.policy.mode is CostMode.ENFORCE:
            message = (
                f"The operation is predicted to make {total} REST calls or more; at most {self.policy.limit} are "
                "allowed."
            )
            raise RequestError([GraphQLError(message, path=document.root_path(name))], CostTooHigh.code)

    def with_cost(self, result: Result, predicted: int | None, context: OperationContext) -> Result:
        """Return the result with the predicted and the actual cost."""
        if predicted is None:
            return result
        fetched = len([report for report in context.reports if report.origin is _FETCHED])
        actual = None if result.subsequent else fetched
        return msgspec.structs.replace(result, cost=Cost(predicted, actual, predicted > self.policy.counted))
