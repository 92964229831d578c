"""The steps of the engine that are spans of their own: finding a document, and finding a plan."""

from collections.abc import Callable
from functools import partial
from typing import Any

from graphql import GraphQLSchema
from graphql.execution import VariableValues

from gateway.execution.documents.cache import Documents, ValidDocument
from gateway.execution.plans.cache import Planner
from gateway.execution.plans.plan import Plan
from gateway.telemetry.tracing import Tracing


class TracedDocuments(Documents):
    """Documents whose parsing and validation, or finding, is a span."""

    def __init__(self, *arguments: Any, tracing: Tracing, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracing = tracing

    def get(self, text: str) -> ValidDocument:
        """Return the document."""
        with self._tracing.step("document"):
            return super().get(text)


def documents_class(tracing: Tracing | None) -> Callable[..., Documents]:
    """Return what makes documents, traced where there is tracing."""
    return Documents if tracing is None else partial(TracedDocuments, tracing=tracing)


def planner_of(schema: GraphQLSchema, tracing: Tracing | None) -> Planner:
    """Return the planner of a schema, traced where there is tracing."""
    return Planner(schema) if tracing is None else TracedPlanner(schema, tracing)


class TracedPlanner(Planner):
    """A planner whose compiling, or finding, is a span."""

    def __init__(self, schema: GraphQLSchema, tracing: Tracing) -> None:
        super().__init__(schema)
        self._tracing = tracing

    def choose(
        self, document: ValidDocument, name: str | None, inputs: dict[str, Any] | None
    ) -> tuple[Plan, VariableValues]:
        """Return the plan and the coerced variables."""
        with self._tracing.step("plan"):
            return super().choose(document, name, inputs)
