"""Resolves the entities that a federation router requests (Apollo Federation subgraph specification, ``_entities``)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from textwrap import dedent
from typing import Any

from graphql import (
    REMOVE,
    DirectiveDefinitionNode,
    FieldDefinitionNode,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Node,
    TypeDefinitionNode,
    Visitor,
    VisitorAction,
    parse,
    print_ast,
    print_schema,
    visit,
)
from strawberry.federation.schema_directives import RequiresScopes
from strawberry.schema.config import StrawberryConfig

from gateway.compat.graphql_core import resolve_by_typename
from gateway.compat.strawberry import SubgraphSchema, graphql_schema, mark_entities, require_link_url, resolve_sdl
from gateway.errors import BadUserInput, GatewayError
from gateway.schema.field_scopes import guard_fields, with_directive
from gateway.schema.inputs import REST_TYPES, rest_names
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.enumerations import Enumerations
from gateway.schema.resolvers.links import Link, Load, Loads, SeveralLoads, link_of
from gateway.schema.resolvers.records import attach_readers, upstream_key
from gateway.schema.scalars import SCALARS, is_int64
from gateway.schema.types import CUSTOMER_SOURCE, THREAD_SOURCE
from gateway.upstream.contract import TYPES
from gateway.upstream.contract.model import Format

Representation = dict[str, Any]

# What the directives of the schema are, by their names without a prefix. A composer knows them; readers that know
# nothing of federation refuse a directive that is not defined (Apollo Federation 2.5; core schemas, `@link` 1.0).
_DEFINITIONS = {
    "link": """
        directive @link(url: String!, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA

        enum link__Purpose {
          SECURITY
          EXECUTION
        }

        scalar link__Import
        """,
    "key": """
        directive @key(fields: federation__FieldSet!, resolvable: Boolean = true) repeatable on OBJECT | INTERFACE

        scalar federation__FieldSet
        """,
    "shareable": "directive @shareable repeatable on OBJECT | FIELD_DEFINITION",
    "requiresScopes": """
        directive @requiresScopes(
          scopes: [[federation__Scope!]!]!
        ) on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM

        scalar federation__Scope
        """,
}
_DESCRIPTION = """The Go!Chat REST API: chat threads, their messages and attachments, and the customers they are about.

Fields at the root cost a REST call, and so do those that say so. Ids are the REST API's own."""
_FEDERATION = re.compile(r"_.*|(link|federation)__.*|" + "|".join(_DEFINITIONS))

_FORMATS = {
    Format.DATE_TIME: ", a text such as `2018-08-03T12:31:34Z`",
    Format.DATE: ", a text such as `1980-12-31`",
    Format.INT64: ", an integer that can pass 32 bits",
    Format.BASE64: ", in Base64",
}

_THREAD = replace(THREAD_SOURCE, typed=True)
_CUSTOMER = replace(CUSTOMER_SOURCE, typed=True)


def _load(representation: Any) -> Load | GatewayError:
    if not isinstance(representation, dict):
        return BadUserInput("A representation must be an object with `__typename` and the key's fields.")
    match representation.get("__typename"):
        case "Thread":
            source, name = _THREAD, "id"
        case "Customer":
            source, name = _CUSTOMER, "externalId"
        case _:
            return BadUserInput("Only Thread, by `id`, and Customer, by `externalId`, can be resolved as entities.")
    key = representation.get(name)
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        return BadUserInput(f"A representation of {source.type_name} must have its key `{name}`.")
    if isinstance(key, int) and not is_int64(key):
        return BadUserInput(f"The key `{name}` of a representation is an integer of more than 64 bits.")
    return Load(source, str(key))


def distinct_entities(representations: list[Any]) -> int:
    """Return how many different entities there are in a list of representations."""
    return len({load for load in map(_load, representations) if isinstance(load, Load)})


def _loads(context: OperationContext, _parent: None, representations: list[Any]) -> Loads:
    """Return what the representations load. Aliases of ``_entities`` that share them share the result."""
    key = tuple(map(id, representations))
    known = context.entities.get(key)
    if known is None:
        # The representations are kept beside their loads, so that no others get their ids.
        loads = SeveralLoads(map(_load, representations))
        known = context.entities[key] = representations, loads
    return known[1]


_ENTITIES = Link(_loads, (_THREAD, _CUSTOMER))


async def _resolve_entities(context: OperationContext, representations: list[Any]) -> list[Any]:
    entities: list[Any] = await _ENTITIES.follow(context, representations=representations)
    return entities


def _describe(schema: GraphQLSchema) -> None:
    """Add to each description what the field is in the REST API, as the contract says it."""
    for name, graphql_type in schema.type_map.items():
        if isinstance(graphql_type, GraphQLObjectType):
            for field in graphql_type.fields.values():
                field.description = _joined(field.description, _rest_value(name, field), *_rest_calls(field))
        elif isinstance(graphql_type, GraphQLInputObjectType) and name in REST_TYPES:
            of = REST_TYPES[name]
            for rest_name, shown in rest_names(of.given).items():
                given = graphql_type.fields[shown]
                given.description = _joined(given.description, _rest_field(of.body, rest_name))


def _joined(description: str | None, *parts: str | None) -> str | None:
    return " ".join(each for each in (description, *parts) if each) or None


def _rest_value(type_name: str, field: GraphQLField) -> str | None:
    key = upstream_key(field)
    return None if key is None else _rest_field(type_name, key)


def _rest_field(type_name: str, name: str) -> str | None:
    """Return the name, the format and the note of a field in the contract, None if it is not there."""
    fields = () if type_name not in TYPES else TYPES[type_name].fields
    found = next((each for each in fields if each.name == name), None)
    if found is None:
        return None
    form = "" if found.format is None else _FORMATS[found.format]
    return f"REST: `{name}`{form}.{found.note and ' '}{found.note}"


def _rest_calls(field: GraphQLField) -> Iterator[str]:
    """Return the route of the link of a field."""
    link = link_of(field)
    routes = {source.route.template for source in link.sources if source.route is not None} if link is not None else ()
    return (f"REST: `GET {template}`." for template in sorted(routes))


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """What settings change about a schema; see `build_schema`."""

    incremental: bool
    field_scopes: bool
    enumerations: Enumerations


class FederatedSchema(SubgraphSchema):
    """A subgraph whose entities are loaded together. One that fails is null with its error; the others are returned."""

    def __init__(self, options: SchemaOptions, **definition: Any) -> None:
        """Build the schema of a ``definition``: what Strawberry's own takes, such as ``query`` and ``types``."""
        self._definition = definition
        self._options = options
        super().__init__(
            resolve_entities=_resolve_entities,
            declare_field=with_directive if options.field_scopes else None,
            further_directives=[RequiresScopes(scopes=[])] if options.field_scopes else [],
            federation_version="2.5",
            config=StrawberryConfig(
                scalar_map=options.enumerations.scalars(SCALARS),
                enable_experimental_incremental_execution=options.incremental,
            ),
            **definition,
        )
        core = graphql_schema(self)
        core.description = _DESCRIPTION
        for name in [each for each in core.type_map if _FEDERATION.fullmatch(each) and each[:2] != "__"]:
            core.type_map[name] = core.type_map.pop(name)  # to the end: tools list types in this order
        options.enumerations.attach(core)
        attach_readers(core)
        _describe(core)
        if options.field_scopes:
            guard_fields(core)
        entity = core.type_map.get("_Entity")
        if isinstance(entity, GraphQLUnionType):
            resolve_by_typename(entity)  # the records are plain dicts, so that Strawberry cannot tell their types
        mark_entities(core, _ENTITIES.metadata)
        require_link_url(core)
        resolve_sdl(core, cache(self.as_str))

    def with_options(self, options: SchemaOptions) -> "FederatedSchema":
        """Return a schema of the same types with these options."""
        return self if options == self._options else FederatedSchema(options, **self._definition)

    def as_str(self) -> str:
        """Return the SDL for federation, with the definitions of the directives that it uses."""
        sdl = super().as_str()
        used = (text for name, text in _DEFINITIONS.items() if re.search(rf"@{name}\b", sdl))
        return "\n\n".join([sdl, *(dedent(text).strip() for text in used)])

    def as_client_str(self) -> str:
        """Return the SDL of what clients use, without federation's fields, types and directives."""
        document = visit(parse(print_schema(graphql_schema(self))), _WithoutFederation())
        return print_ast(document)


class _WithoutFederation(Visitor):
    def enter(self, node: Node, *_: object) -> VisitorAction:
        name = getattr(node, "name", None)
        is_definition = isinstance(node, (TypeDefinitionNode, DirectiveDefinitionNode, FieldDefinitionNode))
        return REMOVE if is_definition and name is not None and _FEDERATION.fullmatch(name.value) else None
