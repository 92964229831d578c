"""The queries that are recorded and replayed.

They are those of the documentation, the demo and the routes, generated ones, and those that the tests send.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
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


def noted(folder: Path) -> Iterator[Query]:
    """Yield what the tests sent, as far as it is one operation in JSON."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                body = json.loads(line)
                query = Query(body["query"], body.get("variables") or {}, body.get("operationName"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a test of what is no operation
            if isinstance(query.variables, dict):
                yield query


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


def distinct_queries(given_queries: Iterator[Query]) -> list[Query]:
    """Return each query once. What is no query, or cannot be parsed or written as JSON, is left out."""
    found: dict[str, Query] = {}
    for query in given_queries:
        try:
            key = json.dumps(query)
            is_query = _runs_a_query(query)
        except (GraphQLError, TypeError, ValueError, RecursionError):
            continue
        if is_query:
            found.setdefault(key, query)
    return list(found.values())


def _runs_a_query(query: Query) -> bool:
    nodes = [each for each in parse(query.document).definitions if isinstance(each, OperationDefinitionNode)]
    chosen = [each for each in nodes if query.name is None or (each.name and each.name.value == query.name)]
    return len(chosen) == 1 and chosen[0].operation is OperationType.QUERY
