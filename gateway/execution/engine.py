"""Runs an operation: find the document, choose the operation, execute it."""

from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from graphql import execute

from gateway.execution.documents import Documents, RequestError
from gateway.execution.result import Result, completed, refused
from gateway.schema import FederatedSchema
from gateway.schema.context import OperationContext


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client asks for (GraphQL over HTTP, section Request Parameters)."""

    document: str
    name: str | None = None
    variables: dict[str, Any] | None = None


class Engine:
    """Executes operations with graphql-core; Strawberry's schema is the truth about what they mean."""

    def __init__(self, schema: FederatedSchema, *, document_cache_size: int, max_tokens: int) -> None:
        self._schema = schema._schema  # noqa: SLF001 - Strawberry's only name for the graphql-core schema
        self.documents = Documents(self._schema, size=document_cache_size, max_tokens=max_tokens)

    async def execute(self, operation: Operation, context: OperationContext) -> Result:
        """Return the result of ``operation``; every failure is inside it. Calls left under way are given up."""
        try:
            document = self.documents.get(operation.document)
            document.operation(operation.name)
        except RequestError as exc:
            return refused(exc, context.request_id)
        try:
            outcome = execute(
                self._schema,
                document.node,
                context_value=context,
                variable_values=operation.variables,
                operation_name=operation.name,
            )
            if isawaitable(outcome):
                outcome = await outcome
        finally:
            context.loaders.cancel()
        return completed(outcome.data, outcome.errors, context.request_id)
