"""Fields that need a scope. Each is declared with its field, and enforced if ``GATEWAY_FIELD_SCOPES`` is set.

The schema declares them (federation's ``@requiresScopes``) only if they are enforced. A router that supports the
directive enforces it too, by the scopes in the token of its own caller, and its tokens may have no such scopes. These
lists are nullable only if they are enforced, so that a withheld list is null and its parent is kept.
"""

from collections.abc import Callable, Iterator
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.federation.schema_directives import RequiresScopes
from strawberry.types.field import StrawberryField

from gateway.compat.graphql_core import make_nullable, replace_resolver
from gateway.compat.strawberry import definition_of
from gateway.compat.strawberry import with_directive as add_directive
from gateway.errors import Forbidden
from gateway.schema.resolvers.context import GatewayInfo

PERSONAL = "customer:personal"
"""The identity of a customer: names, addresses, dates, numbers, and the results of checks."""
CONTENT = "message:content"
"""The content of a message, its senders and recipients, and the names of its files."""

_KEY = "gateway.scope"


def needs(scope: str | None) -> dict[str, Any]:
    """Return the metadata of a Strawberry field that needs ``scope``."""
    return {} if scope is None else {_KEY: scope}


def with_directive(field: StrawberryField) -> StrawberryField:
    """Return the field with its ``@requiresScopes``."""
    scope = _declared(field)
    if scope is None:
        return field
    return add_directive(field, RequiresScopes(scopes=[[scope]]))


def guard_fields(schema: GraphQLSchema) -> None:
    """Let each field of ``schema`` that needs a scope raise Forbidden without it."""
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
        raise ValueError("attach the readers before the fields are guarded")

    def read(source: Any, info: GatewayInfo, **arguments: Any) -> Any:
        if scope not in info.context.viewer.scopes:
            raise Forbidden(f"This field needs the scope {scope}.")
        return resolve(source, info, **arguments)

    return read
