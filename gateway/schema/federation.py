"""How a federation router asks for entities (Apollo Federation subgraph specification, ``_entities``)."""

from dataclasses import replace
from functools import cache
from typing import Any

from graphql import GraphQLObjectType, GraphQLUnionType
from strawberry.federation.schema import FederationAny, Schema
from strawberry.federation.schema_directives import RequiresScopes
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types import Info
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from gateway.errors import BadUserInput, GatewayError
from gateway.schema.field_scopes import guard_fields, with_directive
from gateway.schema.queries import CUSTOMER, THREAD
from gateway.schema.resolvers.context import OperationContext
from gateway.schema.resolvers.links import Link, Load
from gateway.schema.resolvers.records import attach_readers

Representation = dict[str, Any]

_THREAD = replace(THREAD, typed=True)
_CUSTOMER = replace(CUSTOMER, typed=True)


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
    return Load(source, str(key))


_ENTITIES = Link(
    lambda _context, _parent, representations: [_load(each) for each in representations], (_THREAD, _CUSTOMER)
)


class FederatedSchema(Schema):
    """A subgraph whose entities are loaded together; one that fails is null with its error, and the rest stand."""

    def __init__(self, *, field_scopes: bool, **options: Any) -> None:
        """Make the schema; ``field_scopes``: fields that need a scope are declared and guarded."""
        self._field_scopes = field_scopes
        super().__init__(**options)

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """Return the fields of a type, as Strawberry asks for them while it makes the schema."""
        fields = super().get_fields(type_definition)
        return [with_directive(field) for field in fields] if self._field_scopes else fields

    @property
    def schema_directives_in_use(self) -> list[object]:
        """The directives that the schema has to import; Strawberry looks for them on the types as they are written."""
        in_use = super().schema_directives_in_use
        return [*in_use, RequiresScopes(scopes=[])] if self._field_scopes else in_use

    async def entities_resolver(  # type: ignore[override]  # Strawberry's is not async, but takes either
        self, info: Info[OperationContext, None], representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Return the entity of each representation, in their order."""
        entities: list[Any] = await _ENTITIES.follow(info.context, representations=representations)
        return entities

    def complete(self) -> None:
        """Finish what Strawberry builds by itself: how fields are read, ``_entities`` and its union, and the ``sdl``.

        graphql-core reads an entity's type from its ``__typename``, as the records are plain dicts.
        """
        attach_readers(self._schema)
        if self._field_scopes:
            guard_fields(self._schema)
        entity = self._schema.type_map.get("_Entity")
        if isinstance(entity, GraphQLUnionType):
            entity.resolve_type = None
        query = self._schema.query_type
        if query is not None:
            field = query.fields["_entities"].extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            field.metadata = _ENTITIES.metadata
        service = self._schema.type_map.get("_Service")
        if isinstance(service, GraphQLObjectType):
            # Strawberry prints the schema for each request, and for each alias in it: 1.6 ms.
            sdl = cache(self.as_str)
            service.fields["sdl"].resolve = lambda *_: sdl()
