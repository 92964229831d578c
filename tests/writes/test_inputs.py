"""The inputs of the mutations have the fields of the contract, under the names that clients rely on."""

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema

from gateway.compat.strawberry import graphql_schema
from gateway.schema import build_schema
from gateway.schema.inputs import CreateChatTokenInput, CreateMessageInput, UpdateThreadInput, rest_names
from gateway.upstream.contract import CREATE_CHAT_TOKEN, CREATE_MESSAGE, TYPES, UPDATE_THREAD, Write

WRITES = {
    UPDATE_THREAD: (
        UpdateThreadInput,
        {
            "id": "ID!",
            "comment": "String",
            "customerExternalIds": "[String!]",
            "customerIds": "[String!]",
            "reminder": "ReminderInput",
            "status": "ThreadStatus",
            "tagCodes": "[String!]",
            "idempotencyKey": "String",
        },
    ),
    CREATE_MESSAGE: (
        CreateMessageInput,
        {
            "threadId": "ID",
            "mailboxId": "String",
            "from": "String",
            "fromCustomerId": "String",
            "to": "String",
            "cc": "String",
            "bcc": "String",
            "subject": "String",
            "content": "String",
            "delivery": "MessageDelivery",
            "priority": "Int",
            "read": "Boolean",
            "replyToExternalMessageId": "String",
            "setReminder": "ReminderInput",
            "attachments": "[AttachmentInput!]",
            "idempotencyKey": "String",
        },
    ),
    CREATE_CHAT_TOKEN: (
        CreateChatTokenInput,
        {
            "emails": "[String!]",
            "externalId": "String",
            "from": "String",
            "mailboxId": "String",
            "tags": "[String!]",
            "idempotencyKey": "String",
        },
    ),
}
PAYLOADS = {
    "UpdateThreadPayload": ["outcome", "userErrors", "thread"],
    "CreateMessagePayload": ["outcome", "userErrors", "message", "thread"],
    "CreateChatTokenPayload": ["outcome", "userErrors", "token", "expiresAt"],
    "WriteError": ["field", "code", "message"],
}
NESTED = {"ReminderInput": "Reminder", "AttachmentInput": "Upload"}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return graphql_schema(build_schema())


@pytest.mark.parametrize("route", WRITES, ids=lambda route: str(route.name))
def test_an_input_has_the_fields_that_clients_rely_on(schema: GraphQLSchema, route: Write) -> None:
    kind, expected = WRITES[route]
    of = schema.type_map[kind.__name__]
    assert isinstance(of, GraphQLInputObjectType)
    assert {name: str(field.type) for name, field in of.fields.items()} == expected
    assert all(field.description for field in of.fields.values())


@pytest.mark.parametrize("route", WRITES, ids=lambda route: str(route.name))
def test_an_input_has_every_field_of_its_request(route: Write) -> None:
    """Without ``ext_msg_id``, which is the gateway's own, and with the id in the path."""
    asked = {field.name for field in TYPES[route.request].fields} - {"ext_msg_id"}
    assert set(rest_names(WRITES[route][0])) == asked | ({"id"} if route is UPDATE_THREAD else set())


@pytest.mark.parametrize("name", NESTED)
def test_a_nested_input_has_every_field_of_its_request(schema: GraphQLSchema, name: str) -> None:
    of = schema.type_map[name]
    assert isinstance(of, GraphQLInputObjectType)
    assert {each.lower() for each in of.fields} >= {field.name.replace("_", "") for field in TYPES[NESTED[name]].fields}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_has_the_fields_that_clients_rely_on(schema: GraphQLSchema, name: str) -> None:
    of = schema.type_map[name]
    assert isinstance(of, GraphQLObjectType)
    assert list(of.fields) == PAYLOADS[name]


def test_each_mutation_takes_one_input_and_may_be_null(schema: GraphQLSchema) -> None:
    mutation = schema.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        title = name[0].upper() + name[1:]
        assert str(field.type) == f"{title}Payload"
        assert {each: str(argument.type) for each, argument in field.args.items()} == {"input": f"{title}Input!"}
    outcome = schema.type_map["WriteOutcome"]
    assert isinstance(outcome, GraphQLEnumType)
    assert list(outcome.values) == ["APPLIED", "NOT_APPLIED", "UNKNOWN"]
