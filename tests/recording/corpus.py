"""Queries that are recorded and replayed: those of the documentation, the demo and the routes, and generated ones."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings

from gateway.compat.strawberry import graphql_schema
from gateway.upstream.contract import ROUTES, Read
from gateway.web.graphiql.page import EXAMPLE, SHOWN
from tests.docs.page import PAGES
from tests.execution.comparison import SCHEMA
from tests.execution.operations import operations
from tests.queries import query_for


class Query(NamedTuple):
    """A document with its variables; ``name`` says which of its operations runs."""

    document: str
    variables: dict[str, Any]
    name: str | None = None


def shown() -> Iterator[Query]:
    """Yield the queries of the documentation, of the demo, and the shortest for each route."""
    for document in (EXAMPLE, *SHOWN):
        yield Query(document, {})
    for page in PAGES:
        for block in page.blocks:
            if block.language == "graphql":
                yield Query(block.text, {})
    core = graphql_schema(SCHEMA)
    for route in ROUTES.values():
        if isinstance(route, Read):
            yield Query(query_for(route, core), {})


def generated(count: int) -> list[Query]:
    """Return so many generated queries, always the same."""
    found: list[Query] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operations())
    def collect(operation: Any) -> None:
        found.append(Query(operation.document, operation.variables, operation.name))

    collect()
    return found
