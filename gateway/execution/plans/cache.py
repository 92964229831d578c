"""Chooses the plan of an operation. A plan is compiled when it is first needed, and kept with its document."""

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from cachetools import FIFOCache
from graphql import GraphQLError, GraphQLSchema, OperationType
from graphql.execution import VariableValues

from gateway.execution.documents.cache import ValidDocument
from gateway.execution.plans.gaps import StoodAside
from gateway.execution.plans.plan import Plan, compile_plan
from gateway.execution.selection import ConditionalOperation, Conditions, NotPlannable
from gateway.execution.variables import Variables

# Each variable in a @skip or an @include can double the number of plans.
_MAX_PLANS_PER_OPERATION = 16
# A plan takes some 1.7 KB for each of its fields: this is 85 MB, and 2,500 plans of 20 fields.
_MAX_FIELDS = 50_000


@dataclass(slots=True)
class PlanCounters:
    """How operations were executed: ``planned`` of them by a plan, the others by the reference, by reason."""

    planned: int = 0
    not_plannable: Counter[str] = field(default_factory=Counter)
    """Operations that no plan can answer."""
    stood_aside: Counter[str] = field(default_factory=Counter)
    """Operations with a plan whose arguments or upstream responses were not the ordinary case."""


_Key: TypeAlias = tuple["weakref.ref[OperationPlans]", Conditions]


class PlanMemory(FIFOCache[_Key, int]):
    """Bounds the fields of all plans together. The oldest plan is dropped first; compiling it again takes milliseconds.

    It holds sizes only. The plans belong to their documents, and are freed with them.
    """

    def __init__(self, max_fields: int = _MAX_FIELDS) -> None:
        super().__init__(max_fields, getsizeof=lambda fields: fields)

    def popitem(self) -> tuple[_Key, int]:
        """Drop the oldest plan."""
        (reference, conditions), fields = super().popitem()
        plans = reference()
        if plans is not None:
            plans.drop(conditions)
        return (reference, conditions), fields


class OperationPlans:
    """The plans of one operation: one for each combination of the variables in ``@skip`` and ``@include``."""

    def __init__(self, operation: ConditionalOperation, memory: PlanMemory) -> None:
        self._operation = operation
        self._memory = memory
        self._plans: dict[Conditions, Plan | NotPlannable] = {}

    def choose(self, variables: Variables) -> tuple[Plan, VariableValues]:
        """Return the plan for these variables, and their values."""
        values = variables.values
        if values is None:
            raise StoodAside("variables")
        return self._plan(self._operation.conditions(values)), values

    def _plan(self, conditions: Conditions) -> Plan:
        plan = self._plans.get(conditions)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS_PER_OPERATION:
                raise NotPlannable("too many combinations of @skip and @include")
            plan = self._plans[conditions] = self._compile(conditions)
            self._memory[weakref.ref(self), conditions] = 1 if isinstance(plan, NotPlannable) else plan.size
        if isinstance(plan, NotPlannable):
            raise plan
        return plan

    def drop(self, conditions: Conditions) -> None:
        """Drop a plan."""
        self._plans.pop(conditions, None)

    def _compile(self, conditions: Conditions) -> Plan | NotPlannable:
        try:
            return compile_plan(self._operation.select(conditions))
        except NotPlannable as exc:
            return exc
        except (GraphQLError, RecursionError) as exc:
            # These arguments are wrong at each request. The reference says what is wrong with them.
            return NotPlannable(type(exc).__name__)


class Planner:
    """Finds or compiles the plan of each operation of a schema."""

    def __init__(self, schema: GraphQLSchema, memory: PlanMemory | None = None) -> None:
        self._schema = schema
        self._memory = PlanMemory() if memory is None else memory  # an empty one is false

    def choose(self, document: ValidDocument, name: str | None, variables: Variables) -> tuple[Plan, VariableValues]:
        """Return the plan and the coerced variables; raise NotPlannable, or StoodAside for these variables."""
        plans = document.plans.get(name)
        if plans is None:
            if not document.is_kept:
                raise NotPlannable("a document that is not kept")
            plans = document.plans[name] = self._plans(document, name)
        if isinstance(plans, NotPlannable):
            raise plans
        chosen: tuple[Plan, VariableValues] = plans.choose(variables)
        return chosen

    def _plans(self, document: ValidDocument, name: str | None) -> OperationPlans | NotPlannable:
        node = document.operation(name)
        if node.operation is OperationType.MUTATION:
            return NotPlannable(f"a {node.operation.value}")
        try:
            return OperationPlans(ConditionalOperation.of(self._schema, document.node, node), self._memory)
        except NotPlannable as exc:
            return exc
