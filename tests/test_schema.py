"""The schema follows the contract of the REST API and the conventions, has descriptions, and is exported."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_introspection_query,
    is_specified_scalar_type,
)
from graphql import build_schema as parse_schema

from gateway.compat.strawberry import graphql_schema
from gateway.schema import build_schema
from gateway.schema.resolvers.links import Link, link_of
from gateway.upstream.contract import ENUMERATIONS, READS, TYPES, Field, ObjectType
from gateway.upstream.contract.model import Format
from tests.harness import Gateway

EXPORT = Path(__file__).parent.parent / "schema.graphql"

ENTRY_POINTS = {"thread": "Thread", "threads": "[Thread]!", "customer": "Customer"}
# What mutations answer; tests/writes/test_inputs.py compares what they take with the contract.
ANSWERS = {"Mutation", "UpdateThreadPayload", "CreateMessagePayload", "CreateChatTokenPayload"} | {
    "MessageOutcome",
    "WriteError",
}
CONNECTION = {
    "MessageConnection": {
        "edges": "[MessageEdge!]!",
        "nodes": "[Message!]!",
        "pageInfo": "PageInfo!",
        "totalCount": "Int",
    },
    "MessageEdge": {"cursor": "String!", "node": "Message!"},
    "PageInfo": {
        "hasNextPage": "Boolean!",
        "hasPreviousPage": "Boolean!",
        "startCursor": "String",
        "endCursor": "String",
    },
}
SCALARS = {"int": "Int", "str": "String", "bool": "Boolean", "object": "JSON", "any": "JSON"}
FORMATS = {Format.DATE_TIME: "DateTime", Format.DATE: "Date", Format.INT64: "BigInt"}
FEDERATION = {"_Any", "_Entity", "_Service", "_FieldSet", "link__Import", "link__Purpose"}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return graphql_schema(build_schema())


def camel_case(rest_name: str) -> str:
    first, *others = rest_name.split("_")
    return first + "".join(each.capitalize() for each in others)


def conventional_type(of: ObjectType, field: Field) -> str:
    """Return the GraphQL type of a field of the contract, by the conventions."""
    if field.name == "id" and of.identified:
        return "ID!"
    inner = FORMATS[field.format] if field.format in FORMATS else SCALARS.get(field.of, field.of)
    return f"[{inner}!]!" if field.is_list else inner


def contract_of(type_name: str) -> dict[str, str]:
    of = TYPES[type_name]
    return {camel_case(each.name): conventional_type(of, each) for each in of.fields}


def links(schema: GraphQLSchema) -> dict[str, Link]:
    """Return every link of the graph, by the field that follows it."""
    found = {
        f"{name}.{field_name}": link_of(field)
        for name, each in schema.type_map.items()
        if isinstance(each, GraphQLObjectType)
        for field_name, field in each.fields.items()
    }
    return {name: link for name, link in found.items() if link is not None}


def _shown() -> list[str]:
    """Return the types of the contract that the graph shows: all in the bodies that are read, but no pages."""
    shown: set[str] = set()
    new = {each.response for each in READS if each.response is not None}
    while new:
        shown |= new
        new = {field.of for kind in new for field in TYPES[kind].fields if field.of in TYPES} - shown
    return sorted(shown - {each.response for each in READS if each.query})


SHOWN = _shown()


def fields_of(schema: GraphQLSchema, type_name: str) -> dict[str, GraphQLField]:
    graphql_type = schema.type_map[type_name]
    assert isinstance(graphql_type, GraphQLObjectType)
    fields: dict[str, GraphQLField] = graphql_type.fields
    return fields


ALSO = {"Field.fieldId": "Int"}
"""Fields that read a value under a second name."""
INSIDE = {"AttachmentMovedTo.customer"}
"""Fields whose value is elsewhere in the same body."""


@pytest.mark.parametrize("type_name", SHOWN)
def test_a_type_has_the_fields_of_the_contract_and_no_others(schema: GraphQLSchema, type_name: str) -> None:
    found = {name: str(field.type) for name, field in fields_of(schema, type_name).items()}
    also = {name.partition(".")[2]: kind for name, kind in ALSO.items() if name.startswith(f"{type_name}.")}
    followed = {name.partition(".")[2] for name in [*links(schema), *INSIDE] if name.startswith(f"{type_name}.")}
    assert {name: kind for name, kind in found.items() if name not in followed} == contract_of(type_name) | also
    for name in followed:
        assert not found[name].endswith("!"), "a call that fails must not take its parent with it"


def test_every_read_route_has_a_field_that_follows_it(schema: GraphQLSchema) -> None:
    routes = {source.route for link in links(schema).values() for source in link.sources}
    assert routes == {None, *READS}, "None: an event is in no REST body"


def test_a_link_reads_its_value_where_the_contract_has_it(schema: GraphQLSchema) -> None:
    for name, link in links(schema).items():
        for source in link.sources:
            if source.route is None:
                continue
            body = {each.name: each for each in TYPES[source.route.response or ""].fields}
            if source.items is not None:
                assert body[source.items].kind == f"[{source.item_type}]", name
                assert {"total"} <= set(body), name
                assert [each.name for each in source.route.query] == ["offset", "limit"], name
            else:
                shown = source.route.response if source.part is None else body[source.part].kind
                assert shown == source.type_name, name


def test_the_entry_points_are_those_with_a_rest_call(schema: GraphQLSchema) -> None:
    found = {name: str(field.type) for name, field in fields_of(schema, "Query").items() if not name.startswith("_")}
    assert found == {**ENTRY_POINTS, "messageOutcome": "MessageOutcome"}
    arguments = {
        f"{name}.{argument}": str(each.type)
        for name, field in fields_of(schema, "Query").items()
        if not name.startswith("_")
        for argument, each in field.args.items()
    }
    assert arguments == {
        "thread.id": "ID!",
        "threads.ids": "[ID!]!",
        "customer.externalId": "ID!",
        "messageOutcome.threadId": "ID!",
        "messageOutcome.idempotencyKey": "String!",
    }


def test_the_subscriptions_are_those_of_threads_and_customers(schema: GraphQLSchema) -> None:
    fields = fields_of(schema, "Subscription")
    assert {name: str(field.type) for name, field in fields.items()} == {
        "threadUpdated": "Thread",
        "threadsUpdated": "Thread",
        "customerUpdated": "Customer",
        "threadChanges": "ThreadChange!",
    }
    assert {name: {each: str(of.type) for each, of in field.args.items()} for name, field in fields.items()} == {
        "threadUpdated": {"id": "ID!"},
        "threadsUpdated": {"ids": "[ID!]!"},
        "customerUpdated": {"externalId": "String!"},
        "threadChanges": {},
    }
    assert {name: str(field.type) for name, field in fields_of(schema, "ThreadChange").items()} == {
        "threadId": "ID",
        "eventCode": "String",
        "eventDate": "DateTime",
        "source": "String",
        "thread": "Thread",
    }


@pytest.mark.parametrize("type_name", CONNECTION)
def test_messages_are_a_relay_connection(schema: GraphQLSchema, type_name: str) -> None:
    found = {name: str(field.type) for name, field in fields_of(schema, type_name).items()}
    assert found == CONNECTION[type_name]


def test_the_arguments_of_messages_have_their_defaults(schema: GraphQLSchema) -> None:
    arguments = fields_of(schema, "Thread")["messages"].args
    assert {name: (str(each.type), each.default_value) for name, each in arguments.items()} == {
        "first": ("Int", None),
        "after": ("String", None),
        "last": ("Int", None),
        "before": ("String", None),
    }


def test_there_are_no_further_types(schema: GraphQLSchema) -> None:
    objects = {name for name, each in schema.type_map.items() if isinstance(each, GraphQLObjectType)}
    ours = {name for name in objects if not name.startswith("__")} - FEDERATION
    assert ours == {"Query", "Subscription", "ThreadChange", *SHOWN, *CONNECTION, *ANSWERS}
    scalars = {name for name, each in schema.type_map.items() if isinstance(each, GraphQLScalarType)}
    open_values = {field.of for name in SHOWN for field in TYPES[name].fields if field.of in ENUMERATIONS}
    assert scalars - FEDERATION == {
        *("ID", "Int", "String", "Boolean"),
        *("DateTime", "Date", "BigInt", "JSON", "Upload"),
        *open_values,
    }


def _undescribed(schema: GraphQLSchema) -> Iterator[str]:
    for name, graphql_type in schema.type_map.items():
        if name.startswith("__") or name in FEDERATION or is_specified_scalar_type(graphql_type):
            continue
        if not graphql_type.description:
            yield name
        if not isinstance(graphql_type, GraphQLObjectType):
            continue
        for field_name, field in graphql_type.fields.items():
            if field_name.startswith("_"):  # federation's own
                continue
            if not field.description:
                yield f"{name}.{field_name}"
            for argument_name, argument in field.args.items():
                if not argument.description:
                    yield f"{name}.{field_name}({argument_name}:)"


def test_every_type_field_argument_and_scalar_is_described(schema: GraphQLSchema) -> None:
    assert list(_undescribed(schema)) == []


FORMATS_SHOWN = {
    Format.DATE_TIME: ", a text such as `2018-08-03T12:31:34Z`",
    Format.DATE: ", a text such as `1980-12-31`",
    Format.INT64: ", an integer that can pass 32 bits",
}


@pytest.mark.parametrize("type_name", SHOWN)
def test_a_description_says_which_rest_field_it_is_with_its_format_and_note(
    schema: GraphQLSchema, type_name: str
) -> None:
    fields = fields_of(schema, type_name)
    for each in TYPES[type_name].fields:
        description = fields[camel_case(each.name)].description or ""
        own, _, rest = description.partition(" REST: ")
        assert own.endswith("."), each.name
        note = f" {each.note}" if each.note else ""
        assert rest == f"`{each.name}`{FORMATS_SHOWN.get(each.format, '') if each.format else ''}.{note}", each.name


OURS = {
    *("outcome", "userErrors", "idempotencyKey", "upload"),  # of writes; Relay's are next
    *("pageInfo", "cursor", "hasNextPage", "hasPreviousPage", "startCursor", "endCursor"),
}
"""The names of fields that are the gateway's own. `WriteError` is its own as a whole."""


def test_every_field_of_objects_and_inputs_says_what_it_is_in_the_rest_api(schema: GraphQLSchema) -> None:
    """Also where a type is not in the contract as a whole: payloads, webhooks, connections, inputs."""
    silent = {
        f"{name}.{field_name}"
        for name, of in schema.type_map.items()
        if isinstance(of, (GraphQLObjectType, GraphQLInputObjectType)) and not name.startswith(("_", "WriteError"))
        for field_name, field in of.fields.items()
        if not field_name.startswith("_") and field_name not in OURS and "REST: " not in (field.description or "")
    }
    assert silent == set()


def test_the_description_of_a_field_that_costs_a_call_says_which_one(schema: GraphQLSchema) -> None:
    for name, link in links(schema).items():
        type_name, _, field_name = name.partition(".")
        if field_name.startswith("_"):  # federation's own
            continue
        description = fields_of(schema, type_name)[field_name].description or ""
        for source in link.sources:
            assert source.route is None or f"REST: `GET {source.route.template}`." in description, name


def test_a_field_is_deprecated_where_the_contract_says_so(schema: GraphQLSchema) -> None:
    deprecated = {
        f"{name}.{field_name}": field.deprecation_reason
        for name in SHOWN
        for field_name, field in fields_of(schema, name).items()
        if field.deprecation_reason is not None
    }
    assert deprecated.pop("Field.id", "").startswith("Use `fieldId`.")  # ours: caches of clients mistake it
    assert deprecated == {
        f"{name}.{camel_case(each.name)}": f"Use `{camel_case(each.deprecated)}`."
        for name in SHOWN
        for each in TYPES[name].fields
        if each.deprecated is not None
    }
    assert deprecated


@pytest.mark.parametrize(
    ("type_name", "keys"),
    [
        ("Thread", ['@key(fields: "id", resolvable: true)']),
        ("Message", ['@key(fields: "id", resolvable: false)']),
        ("Attachment", ['@key(fields: "id", resolvable: false)']),
        (
            "Customer",
            ['@key(fields: "externalId", resolvable: true)', '@key(fields: "id", resolvable: false)'],
        ),
        ("PageInfo", ["@shareable"]),
        ("Field", []),
    ],
)
def test_entities_carry_their_federation_keys(type_name: str, keys: list[str]) -> None:
    (line,) = (each for each in EXPORT.read_text().splitlines() if each.startswith(f"type {type_name} "))
    assert line == " ".join(["type", type_name, *keys, "{"])


@pytest.mark.parametrize("field_scopes", [False, True])
@pytest.mark.parametrize("incremental", [False, True])
def test_a_strict_reader_accepts_the_schema(field_scopes: bool, incremental: bool) -> None:
    """Every directive and scalar that the SDL uses is defined in it (GraphQL specification, section 3.13)."""
    built = build_schema(field_scopes=field_scopes, incremental=incremental)
    read = parse_schema(built.as_str())
    directives = {each.name for each in read.directives}
    assert ("requiresScopes" in directives, "defer" in directives) == (field_scopes, incremental)
    link = read.get_directive("link")
    assert link is not None
    assert str(link.args["url"].type) == "String!"


def test_the_schema_for_clients_lacks_what_only_federation_uses(schema: GraphQLSchema) -> None:
    sdl = build_schema(field_scopes=True, incremental=True).as_client_str()
    read = parse_schema(sdl)
    ours = {name for name in schema.type_map if not name.startswith(("_", "link__"))}
    assert {name for name in read.type_map if not name.startswith("_")} >= ours
    theirs = [name for name in read.type_map if name.startswith(("_", "link__", "federation__"))]
    assert all(name.startswith("__") for name in theirs)  # introspection's
    assert {each.name for each in read.directives} >= {"defer", "stream"}
    for word in ("@key", "@link", "@shareable", "_Entity", "_entities", "_service"):
        assert word not in sdl
    query = read.query_type
    assert query is not None
    assert set(query.fields) == {name for name in fields_of(schema, "Query") if not name.startswith("_")}


def test_introspection_declares_the_url_of_a_link_as_required(gateway: Gateway) -> None:
    data = gateway.data("{ __schema { directives { name args { name type { kind ofType { name } } } } } }")
    (link,) = (each for each in data["__schema"]["directives"] if each["name"] == "link")
    (url,) = (each for each in link["args"] if each["name"] == "url")
    assert url["type"] == {"kind": "NON_NULL", "ofType": {"name": "String"}}


def test_the_exported_schema_is_up_to_date() -> None:
    current = build_schema().as_str() + "\n"
    stale = "write it again: uv run gochat-gateway schema > schema.graphql"
    assert EXPORT.read_text(encoding="utf-8") == current, stale


def test_a_federation_router_gets_the_exported_schema(gateway: Gateway) -> None:
    sdl = gateway.data("{ _service { sdl } }")["_service"]["sdl"]
    assert sdl.strip() == EXPORT.read_text(encoding="utf-8").strip()


def test_introspection_shows_the_whole_schema(gateway: Gateway, schema: GraphQLSchema) -> None:
    data = gateway.data(get_introspection_query(input_value_deprecation=True))
    shown = {each["name"]: each for each in data["__schema"]["types"]}
    assert set(shown) == set(schema.type_map)
    assert {each["name"] for each in shown["Thread"]["fields"]} == set(fields_of(schema, "Thread"))
    assert data["__schema"]["queryType"]["name"] == "Query"
    assert data["__schema"]["mutationType"]["name"] == "Mutation"


def test_introspection_describes_the_schema_and_lists_federations_types_last(gateway: Gateway) -> None:
    schema = gateway.data("{ __schema { description types { name } } }")["__schema"]
    assert schema["description"].startswith("The Go!Chat REST API: chat threads")
    names = [each["name"] for each in schema["types"]]
    federation = [name for name in names if re.match(r"_[A-Z]|federation__|link__", name)]
    assert len(federation) >= 3
    assert names[-len(federation) :] == federation
