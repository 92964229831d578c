"""Chooses the plan of an operation: compiled when it is first wanted, and kept with its document."""

import weakref
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, OperationType
from graphql.execution import VariableValues

from gateway.execution.documents.cache import ValidDocument
from gateway.execution.plans.plan import Plan, compile_plan
from gateway.execution.selection import NotPlannable, condition_variables, select
from gateway.execution.variables import Variables

# Each variable that decides a @skip or @include can double them.
_MOST_VARIANTS = 16
# A plan takes some 1.7 KB for each of its fields: this is 85 MB, and 2,500 plans of 20 fields.
_MOST_FIELDS = 50_000


_Values: TypeAlias = tuple[Any, ...]
"""How the variables decide each ``@skip`` and ``@include``."""


class StoodAside(Exception):
    """The plan cannot answer this time; the message is the reason."""


@dataclass(slots=True)
class PlanCounters:
    """How operations were executed: ``planned`` of them by a plan, the others by the reference, by reason."""

    planned: int = 0
    not_plannable: Counter[str] = field(default_factory=Counter)
    """No plan can answer such an operation."""
    stood_aside: Counter[str] = field(default_factory=Counter)
    """There was a plan, and the arguments or the upstream answers were not the ordinary case."""


class PlanMemory:
    """Bounds what all plans take together, in fields. The oldest goes first: to make it again costs milliseconds."""

    def __init__(self, most: int = _MOST_FIELDS) -> None:
        self._most = most
        self._kept: deque[tuple[weakref.ref[OperationPlans], _Values, int]] = deque()
        self.fields = 0
        """How many fields the plans have that are kept, or were when their document was dropped."""

    def keep(self, plans: "OperationPlans", values: _Values, size: int) -> None:
        """Take note of a new plan, and let the oldest go where they are too many."""
        self._kept.append((weakref.ref(plans), values, size))
        self.fields += size
        while self.fields > self._most and len(self._kept) > 1:
            reference, old, size = self._kept.popleft()
            self.fields -= size
            owner = reference()
            if owner is not None:
                owner.forget(old)


class OperationPlans:
    """The plans of one operation: one for each way its variables decide ``@skip`` and ``@include``."""

    def __init__(
        self, schema: GraphQLSchema, memory: PlanMemory, document: ValidDocument, operation: OperationDefinitionNode
    ) -> None:
        self._schema = schema
        self._memory = memory
        self._document = document
        self._operation = operation
        self._variables = Variables(schema, operation)
        self._variants: dict[_Values, Plan | NotPlannable] = {}
        if operation.operation is not OperationType.QUERY:
            raise NotPlannable(f"a {operation.operation.value}")
        self._conditions = condition_variables(document.node)

    def choose(self, inputs: dict[str, Any] | None) -> tuple[Plan, VariableValues]:
        """Return the plan for these variables, and their coerced values."""
        variables = self._variables.coerce(inputs or {})
        if variables is None:
            raise StoodAside("variables")
        values = tuple(variables.coerced.get(name) for name in self._conditions)
        return self._variant(values), variables

    def _variant(self, values: _Values) -> Plan:
        plan = self._variants.get(values)
        if plan is None:
            if len(self._variants) >= _MOST_VARIANTS:
                raise NotPlannable("too many combinations of @skip and @include")
            plan = self._variants[values] = self._compile(values)
            self._memory.keep(self, values, 1 if isinstance(plan, NotPlannable) else plan.size)
        if isinstance(plan, NotPlannable):
            raise plan
        return plan

    def forget(self, values: _Values) -> None:
        """Let a plan go."""
        self._variants.pop(values, None)

    def _compile(self, values: _Values) -> Plan | NotPlannable:
        conditions = {
            name: value for name, value in zip(self._conditions, values, strict=True) if isinstance(value, bool)
        }
        try:
            return compile_plan(select(self._schema, self._document.node, self._operation, conditions))
        except NotPlannable as exc:
            return exc
        except (GraphQLError, RecursionError) as exc:
            # Wrong arguments that are the same each time: the reference says what is wrong with them.
            return NotPlannable(type(exc).__name__)


class Planner:
    """Finds or makes the plan for each operation of a schema."""

    def __init__(self, schema: GraphQLSchema, memory: PlanMemory | None = None) -> None:
        self._schema = schema
        self._memory = memory or PlanMemory()

    def choose(
        self, document: ValidDocument, name: str | None, inputs: dict[str, Any] | None
    ) -> tuple[Plan, VariableValues]:
        """Return the plan and the coerced variables; raise NotPlannable, or StoodAside for these variables."""
        plans = document.plans.get(name)
        if plans is None:
            if not document.is_kept:
                raise NotPlannable("a document that is not kept")
            plans = document.plans[name] = self._plans(document, name)
        if isinstance(plans, NotPlannable):
            raise plans
        chosen: tuple[Plan, VariableValues] = plans.choose(inputs)
        return chosen

    def _plans(self, document: ValidDocument, name: str | None) -> OperationPlans | NotPlannable:
        try:
            return OperationPlans(self._schema, self._memory, document, document.operation(name))
        except NotPlannable as exc:
            return exc
