"""What the schema uses of Strawberry's undocumented behaviour. Apart, so that an upgrade is checked in one place."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any, TypeAlias

from graphql import GraphQLArgument, GraphQLField, GraphQLNonNull, GraphQLObjectType, GraphQLSchema
from strawberry.federation.schema import FederationAny, Schema
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types import Info
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

DeclareField: TypeAlias = Callable[[StrawberryField], StrawberryField]
ResolveEntities: TypeAlias = Callable[[Any, list[Any]], Awaitable[list[Any]]]


class SubgraphSchema(Schema):
    """A federated schema whose fields and entities are given by functions.

    Strawberry resolves entities one by one; all of them have to be loaded at the same time, so ``entities_resolver``
    is overridden. A directive that depends on a setting cannot stand in the class of a type, so ``get_fields`` is
    overridden, and ``schema_directives_in_use``, which otherwise sees only the classes.
    """

    def __init__(
        self,
        *,
        resolve_entities: ResolveEntities,
        declare_field: DeclareField | None = None,
        further_directives: Sequence[object] = (),
        **options: Any,
    ) -> None:
        """Build the schema.

        ``declare_field`` returns each field as the schema declares it. ``further_directives`` are those that it adds.
        """
        self._resolve_entities = resolve_entities
        self._declare_field = declare_field
        self._further_directives = further_directives
        super().__init__(**options)

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """Return the fields of a type. Strawberry calls this while it builds the schema."""
        fields = super().get_fields(type_definition)
        return fields if self._declare_field is None else [self._declare_field(field) for field in fields]

    @property
    def schema_directives_in_use(self) -> list[object]:
        """The directives that the schema imports with ``@link``."""
        return [*super().schema_directives_in_use, *self._further_directives]

    async def entities_resolver(  # type: ignore[override]  # Strawberry's is not async, but it accepts both
        self, info: Info[Any, None], representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Return the entity of each representation, in their order. This is the resolver of ``_entities``."""
        return await self._resolve_entities(info.context, representations)


def graphql_schema(schema: Schema) -> GraphQLSchema:
    """Return the graphql-core schema, which plans, limits and costs work on: it has no public name."""
    return schema._schema  # noqa: SLF001 - see above


def definition_of(field: GraphQLField) -> StrawberryField | None:
    """Return the Strawberry field behind a graphql-core field, None where there is none.

    Links, scopes and upstream keys are declared on Strawberry fields and read from the built schema. The extension
    that joins the two is not documented.
    """
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return definition if isinstance(definition, StrawberryField) else None


def python_name(argument: GraphQLArgument) -> str:
    """Return the Python name of an argument; a plan calls links without Strawberry, which would translate it."""
    name: str = argument.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].python_name
    return name


def has_resolver(definition: StrawberryField) -> bool:
    """Return whether a field has a resolver of its own: a field without one is read from its record.

    ``base_resolver`` is not documented.
    """
    return definition.base_resolver is not None


def declared_in(definition: StrawberryField) -> str:
    """Return the name of the module with the class of a field. ``origin`` is not documented."""
    return "" if definition.origin is None else definition.origin.__module__


def field_name(definition: StrawberryField) -> str:
    """Return the Python name of a field, which is its key in the REST API. ``python_name`` is not documented."""
    return definition.python_name


def input_names(kind: type) -> dict[str, str]:
    """Return the names that the fields of an input type have in the schema, by their Python names.

    That the fields of such a class are StrawberryFields with these two names is not documented.
    """
    fields = [each for each in dataclasses.fields(kind) if isinstance(each, StrawberryField)]
    return {each.python_name: each.graphql_name or to_camel_case(each.python_name) for each in fields}


def with_directive(definition: StrawberryField, directive: object) -> StrawberryField:
    """Return a copy of a field with one more directive; a field of a class is shared by all schemas.

    That a field can be copied, and has its directives in a list that the printer reads, is not documented.
    """
    declared = copy(definition)
    declared.directives = [*declared.directives, directive]
    return declared


def mark_entities(schema: GraphQLSchema, metadata: Mapping[Any, Any]) -> None:
    """Give the field ``_entities`` its metadata: Strawberry declares this field by itself, without any."""
    if schema.query_type is not None:
        definition = definition_of(schema.query_type.fields["_entities"])
        if definition is not None:
            definition.metadata = MappingProxyType(dict(metadata))


def require_link_url(schema: GraphQLSchema) -> None:
    """Make ``url`` of ``@link`` required, as its specification says: Strawberry declares it nullable."""
    link = schema.get_directive("link")
    if link is not None and not isinstance(link.args["url"].type, GraphQLNonNull):
        link.args["url"].type = GraphQLNonNull(link.args["url"].type)


def resolve_sdl(schema: GraphQLSchema, sdl: Callable[[], str]) -> None:
    """Let ``_service { sdl }`` return ``sdl()``: Strawberry prints the schema at each request, which takes 1.6 ms."""
    service = schema.type_map.get("_Service")
    if isinstance(service, GraphQLObjectType):
        service.fields["sdl"].resolve = lambda *_: sdl()
