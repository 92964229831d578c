"""The shortest query that makes a REST call, for each route of the contract."""

import json
from collections.abc import Iterator
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type, is_required_argument

from gateway.compat.strawberry import graphql_schema
from gateway.schema import build_schema
from gateway.schema.resolvers.links import link_of
from gateway.upstream.contract import Read

EXAMPLES: dict[str, Any] = {"id": "th-1", "ids": ["th-1"], "externalId": "cu-1"}
"""By the name of a required argument, a value for which the sandbox has something."""
_MOST_LEVELS = 8


def query_for(route: Read, schema: GraphQLSchema | None = None) -> str:
    """Return the shortest query whose last call is one of ``route``."""
    core = graphql_schema(build_schema()) if schema is None else schema
    query = core.query_type
    assert query is not None
    for levels in range(1, _MOST_LEVELS):
        for path in _paths(query, levels):
            if _leads_to(path[-1][1], route):
                return "{ " + _written(path) + " }"
    raise LookupError(f"no field of the graph reads {route.template}")


def _paths(of: GraphQLObjectType, levels: int) -> Iterator[list[tuple[str, GraphQLField]]]:
    """Yield every way down of exactly so many fields."""
    for name, field in of.fields.items():
        if name.startswith("_"):
            continue
        if levels == 1:
            yield [(name, field)]
        elif isinstance(below := get_named_type(field.type), GraphQLObjectType):
            for path in _paths(below, levels - 1):
                yield [(name, field), *path]


def _leads_to(field: GraphQLField, route: Read) -> bool:
    link = link_of(field)
    return link is not None and any(source.route is route for source in link.sources)


def _written(path: list[tuple[str, GraphQLField]]) -> str:
    (name, field), *rest = path
    given = {name: EXAMPLES[name] for name, each in field.args.items() if is_required_argument(each)}
    arguments = ", ".join(f"{name}: {json.dumps(value)}" for name, value in given.items())
    below = get_named_type(field.type)
    assert isinstance(below, GraphQLObjectType)
    inside = _written(rest) if rest else _leaf(below)
    return f"{name}{f'({arguments})' if arguments else ''} {{ {inside} }}"


def _leaf(of: GraphQLObjectType) -> str:
    """Return a selection that ends at a leaf, and costs no call of its own."""
    for name, field in of.fields.items():
        if is_leaf_type(get_named_type(field.type)):
            return str(name)
    for name, field in of.fields.items():
        below = get_named_type(field.type)
        if isinstance(below, GraphQLObjectType) and link_of(field) is None:
            return f"{name} {{ {_leaf(below)} }}"
    raise LookupError(f"{of.name} has no leaf")
