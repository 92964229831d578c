"""Canaries of gateway/compat/strawberry.py: after an upgrade, each names the borrowed behaviour that is gone."""

from typing import Any

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema, graphql, graphql_sync
from strawberry.federation.schema import Schema
from strawberry.federation.schema_directives import Key, RequiresScopes
from strawberry.federation.types import FieldSet
from strawberry.types.field import StrawberryField

from gateway.compat.strawberry import (
    SubgraphSchema,
    declared_in,
    definition_of,
    field_name,
    graphql_schema,
    has_resolver,
    mark_entities,
    python_name,
    resolve_sdl,
    with_directive,
)


@strawberry.federation.type(keys=[Key(fields=FieldSet("id"))])
class Thing:
    id: strawberry.ID = strawberry.field(metadata={"note": "kept"})


def _thing(thing_id: strawberry.ID) -> Any:
    return Thing(id=thing_id)


@strawberry.type
class Query:
    thing: Thing = strawberry.field(resolver=_thing)


async def _entities(_context: Any, representations: list[Any]) -> list[Any]:
    return [Thing(id=each["id"]) for each in representations]


def build(**options: Any) -> SubgraphSchema:
    return SubgraphSchema(resolve_entities=_entities, query=Query, federation_version="2.5", **options)


def object_type(schema: Schema, name: str) -> GraphQLObjectType:
    found = graphql_schema(schema).type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


def test_the_graphql_core_schema_is_at_hand() -> None:
    assert isinstance(getattr(build(), "_schema", None), GraphQLSchema), "Schema._schema is no GraphQLSchema any more"


def test_a_field_names_its_strawberry_definition() -> None:
    definition = definition_of(object_type(build(), "Thing").fields["id"])
    assert definition is not None, "GraphQLCoreConverter.DEFINITION_BACKREF does not lead to the StrawberryField"
    assert definition.metadata["note"] == "kept", "a StrawberryField does not keep its metadata in the schema"


def test_an_argument_names_its_python_name() -> None:
    argument = object_type(build(), "Query").fields["thing"].args["thingId"]
    assert python_name(argument) == "thing_id", "DEFINITION_BACKREF does not lead to the StrawberryArgument"


def test_a_field_says_whether_it_has_a_resolver() -> None:
    schema = build()
    of_fields = [definition_of(object_type(schema, name).fields[field]) for name, field in _FIELDS]
    found = [definition is not None and has_resolver(definition) for definition in of_fields]
    assert found == [True, False], "StrawberryField.base_resolver does not tell whether there is a resolver"


_FIELDS = [("Query", "thing"), ("Thing", "id")]


@strawberry.type(name="Query")
class WiderQuery(Query):
    other: int = 0


def test_a_field_names_the_module_of_its_class() -> None:
    schema = SubgraphSchema(resolve_entities=_entities, query=WiderQuery, federation_version="2.5")
    for name, field in [*_FIELDS, ("Query", "other")]:
        definition = definition_of(object_type(schema, name).fields[field])
        assert definition is not None
        assert declared_in(definition) == __name__, "StrawberryField.origin is not the class of a field any more"


def test_fields_are_asked_for_while_the_schema_is_built() -> None:
    asked: list[str] = []

    def declare(field: StrawberryField) -> StrawberryField:
        asked.append(field.python_name)
        return field

    build(declare_field=declare)
    assert {"id", "thing"} <= set(asked), "Schema.get_fields is not called for each type any more"


def test_directives_in_use_are_imported() -> None:
    sdl = build(further_directives=[RequiresScopes(scopes=[])]).as_str()
    assert '"@requiresScopes"' in sdl, "Schema.schema_directives_in_use does not decide what @link imports any more"


async def test_entities_are_resolved_by_the_overridden_method() -> None:
    query = '{ _entities(representations: [{__typename: "Thing", id: "7"}]) { ... on Thing { id } } }'
    result = await graphql(graphql_schema(build()), query)
    assert result.errors is None, result.errors
    assert result.data == {"_entities": [{"id": "7"}]}, "_entities is not resolved by Schema.entities_resolver any more"


def test_the_field_of_entities_can_be_marked() -> None:
    core = graphql_schema(build())
    mark_entities(core, {"note": "marked"})
    assert core.query_type is not None
    definition = definition_of(core.query_type.fields["_entities"])
    assert definition is not None, "_entities has no StrawberryField any more"
    assert definition.metadata == {"note": "marked"}, "the metadata of _entities cannot be replaced any more"


def test_the_sdl_is_printed_once() -> None:
    core = graphql_schema(build())
    resolve_sdl(core, lambda: "printed before")
    result = graphql_sync(core, "{ _service { sdl } }")
    assert result.data == {"_service": {"sdl": "printed before"}}, "_Service.sdl does not use its `resolve` any more"


def test_a_field_has_its_python_name() -> None:
    definition = definition_of(object_type(build(), "Query").fields["thing"])
    assert definition is not None
    assert field_name(definition) == "thing", "StrawberryField.python_name is not the attribute's name any more"


def test_a_copy_of_a_field_has_a_directive_that_the_field_has_not() -> None:
    def declared(field: StrawberryField) -> StrawberryField:
        return with_directive(field, RequiresScopes(scopes=[["a"]])) if field_name(field) == "thing" else field

    scoped = build(declare_field=declared, further_directives=[RequiresScopes(scopes=[])])
    assert "@requiresScopes" in scoped.as_str(), "the printer does not read the directives of a copied field"
    assert "@requiresScopes" not in build().as_str(), "a copied field shares its list of directives with the class"
