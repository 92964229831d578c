"""Inspects the documents of a manifest: whether each fits the schema and the limits, and what it costs.

Apart from `gateway.cli`, which only prints.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode

from gateway.compat.strawberry import graphql_schema
from gateway.errors import RequestError
from gateway.execution.cost.estimate import TOO_LARGE, most_calls
from gateway.execution.cost.policy import CostPolicy
from gateway.execution.documents.cache import DocumentCache
from gateway.execution.documents.limits import Limits
from gateway.execution.documents.manifest import TrustedDocument
from gateway.execution.documents.size import size_of
from gateway.schema import FederatedSchema
from gateway.settings import CostMode


@dataclass(frozen=True, slots=True)
class Inspected:
    """The finding about one document."""

    ok: bool
    entry: str
    text: str

    def __str__(self) -> str:
        """Return the line."""
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.entry}: {self.text}"


def inspect(
    documents: tuple[TrustedDocument, ...], federated: FederatedSchema, limits: Limits, costs: CostPolicy
) -> Iterator[Inspected]:
    """Yield one line for each document."""
    schema = graphql_schema(federated)
    checked = DocumentCache(schema, size=0, limits=limits)
    for each in documents:
        try:
            node = checked.get(each.text).node
        except RequestError as exc:
            problems = "; ".join(error.message for error in exc.errors)
            yield Inspected(ok=False, entry=each.entry, text=f"{exc.code}: {problems}")
            continue
        yield _described(each.entry, node, schema, limits, costs)


def _described(entry: str, node: DocumentNode, schema: GraphQLSchema, limits: Limits, costs: CostPolicy) -> Inspected:
    operations = [each for each in node.definitions if isinstance(each, OperationDefinitionNode)]
    if not operations:
        return Inspected(ok=False, entry=entry, text="it has no operation")
    parts = []
    fits = True
    for operation, size in zip(operations, size_of(node).operations, strict=True):
        least, most = (most_calls(schema, node, operation, costs.list_size, items) for items in (1, limits.list))
        name = f" {operation.name.value}" if operation.name else ""
        calls = str(least) if least == most else f"{least} to {'very many' if most >= TOO_LARGE else most}"
        parts.append(f"{operation.operation.value}{name}, depth {size.depth}, cost {calls}")
        fits = fits and (costs.mode is not CostMode.ENFORCE or least <= costs.limit)
    text = "; ".join(parts)
    return Inspected(ok=fits, entry=entry, text=text if fits else f"{text}: more than {costs.limit}")
