"""Fields that need a scope of their own: declared where the field is, enforced where ``GATEWAY_FIELD_SCOPES`` says so.

Only then does the schema tell (federation's ``@requiresScopes``): a router that knows the directive enforces it too, by
the scopes in its own caller's token, and there need be no such thing. And only then are these lists nullable, so that
one which is withheld is null at its own place and takes nothing else with it.
"""

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.federation.schema_directives import RequiresScopes
from strawberry.types.field import StrawberryField

from gateway.compat.graphql_core import make_nullable, replace_resolver
from gateway.compat.strawberry import definition_of
from gateway.errors import Forbidden
from gateway.schema.resolvers.context import GatewayInfo

PERSONAL = "customer:personal"
"""Who a customer is: names, addresses, dates, numbers, and what was found out about them."""
CONTENT = "message:content"
"""What a message says and between whom, and the names of the files that came with it."""

_KEY = "gateway.scope"


def needs(scope: str | None) -> dict[str, Any]:
    """Return what a Strawberry field carries to need ``scope``."""
    return {} if scope is None else {_KEY: scope}


def with_directive(field: StrawberryField) -> StrawberryField:
    """Return the field as a schema that enforces scopes declares it."""
    scope = _declared(field)
    if scope is None:
        return field
    declared = copy(field)
    declared.directives = [*declared.directives, RequiresScopes(scopes=[[scope]])]
    return declared


def guard_fields(schema: GraphQLSchema) -> None:
    """Let no field of ``schema`` that needs a scope be read without it."""
    for field, scope in _scoped_fields(schema):
        make_nullable(field)
        field.extensions[_KEY] = scope
        replace_resolver(field, _guarded(scope, field.resolve))


def scope_of(field: GraphQLField) -> str | None:
    """Return the scope that is enforced at a field of the schema, None where there is none."""
    scope: str | None = field.extensions.get(_KEY)
    return scope


def _scoped_fields(schema: GraphQLSchema) -> Iterator[tuple[GraphQLField, str]]:
    for graphql_type in schema.type_map.values():
        if isinstance(graphql_type, GraphQLObjectType):
            for field in graphql_type.fields.values():
                scope = _declared(definition_of(field))
                if scope is not None:
                    yield field, scope


def _declared(definition: StrawberryField | None) -> str | None:
    scope: str | None = None if definition is None else definition.metadata.get(_KEY)
    return scope


def _guarded(scope: str, resolve: Callable[..., Any] | None) -> Callable[..., Any]:
    if resolve is None:
        raise ValueError("fields are guarded once they can be read")

    def read(source: Any, info: GatewayInfo, **arguments: Any) -> Any:
        if scope not in info.context.viewer.scopes:
            raise Forbidden(f"This field needs the scope {scope}.")
        return resolve(source, info, **arguments)

    return read
