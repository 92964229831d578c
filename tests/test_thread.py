"""A query for a chat thread: exactly what was selected, for one REST call."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, is_leaf_type

from gateway.compat.strawberry import graphql_schema
from gateway.sandbox import Fault, Sandbox, seed
from gateway.schema import build_schema
from gateway.schema.resolvers.records import upstream_key
from tests.harness import Gateway, StartGateway

NESTED = """{
  thread(id: "th-1") {
    lastMessage { attachments { attachmentMovements { total movements { agentId customerId fileId } } } }
  }
}"""


def test_nested_fields_cost_one_call_and_are_returned_alone(gateway: Gateway, sandbox: Sandbox) -> None:
    data = gateway.data(NESTED)
    attachments = seed().threads["th-1"]["last_message"]["attachments"]
    assert data["thread"]["lastMessage"]["attachments"] == [
        {
            "attachmentMovements": {
                "total": each["attachment_movements"]["total"],
                "movements": [
                    {"agentId": move["agent_id"], "customerId": move["customer_id"], "fileId": move["file_id"]}
                    for move in each["attachment_movements"]["movements"]
                ],
            }
        }
        for each in attachments
    ]
    assert sandbox.count("thread") == 1
    assert sandbox.count() == 2, "the thread and the login, nothing else"


def _selection(graphql_type: GraphQLObjectType, depth: int) -> str:
    """Select every field below ``graphql_type`` that costs no call of its own."""
    parts = []
    for name, field in graphql_type.fields.items():
        if upstream_key(field) is None:
            continue
        inner = _named(field.type)
        if is_leaf_type(inner):
            parts.append(name)
        elif isinstance(inner, GraphQLObjectType) and depth:
            parts.append(f"{name} {{ {_selection(inner, depth - 1)} }}")
    return " ".join(parts)


def _named(graphql_type: GraphQLOutputType) -> Any:
    return graphql_type.of_type and _named(graphql_type.of_type) if hasattr(graphql_type, "of_type") else graphql_type


def _expected(graphql_type: Any, value: Any) -> Any:
    """Return the response for an upstream value, without the code under test."""
    if isinstance(graphql_type, GraphQLNonNull):
        if isinstance(graphql_type.of_type, GraphQLList) and value is None:
            return []
        return _expected(graphql_type.of_type, value)
    if value is None or is_leaf_type(graphql_type):
        return value
    if isinstance(graphql_type, GraphQLList):
        return [_expected(graphql_type.of_type, each) for each in value]
    fields = ((name, field, upstream_key(field)) for name, field in graphql_type.fields.items())
    return {name: _expected(field.type, value.get(key)) for name, field, key in fields if key is not None}


@pytest.mark.parametrize("thread_id", ["th-1", "th-2", "th-3", "th-big", "th-ünï code?"])
def test_every_field_of_a_thread_is_what_the_rest_api_sent(gateway: Gateway, sandbox: Sandbox, thread_id: str) -> None:
    """Every field of every type, present, null or absent; a null list is an empty list."""
    thread = graphql_schema(build_schema()).type_map["Thread"]
    assert isinstance(thread, GraphQLObjectType)
    document = f"query ($id: ID!) {{ thread(id: $id) {{ {_selection(thread, 5)} }} }}"
    assert gateway.data(document, id=thread_id)["thread"] == _expected(thread, seed().threads[thread_id])
    assert sandbox.count("thread") == 1


def test_a_thread_that_does_not_exist_is_null_without_an_error(gateway: Gateway) -> None:
    assert gateway.query('{ thread(id: "nowhere") { id } }') == {"data": {"thread": None}}


def test_the_same_thread_is_fetched_once_in_an_operation(gateway: Gateway, sandbox: Sandbox) -> None:
    """However often it is selected, and by whatever field."""
    document = """{
      a: thread(id: "th-1") { id }
      b: thread(id: "th-1") { status }
      threads(ids: ["th-1", "th-1"]) { id }
      _entities(representations: [{__typename: "Thread", id: "th-1"}]) { ... on Thread { id } }
    }"""
    data = gateway.data(document)
    assert data["a"]["id"] == data["threads"][1]["id"] == data["_entities"][0]["id"] == "th-1"
    assert sandbox.count("thread") == 1


def test_two_operations_fetch_it_twice(gateway: Gateway, sandbox: Sandbox) -> None:
    """No data is shared between operations."""
    gateway.data(NESTED)
    gateway.data(NESTED)
    assert sandbox.count("thread") == 2


def test_threads_have_the_order_of_the_ids_and_null_for_a_missing_one(gateway: Gateway) -> None:
    data = gateway.data('{ threads(ids: ["th-101", "nowhere", "th-100", "th-101"]) { id } }')
    assert data["threads"] == [{"id": "th-101"}, None, {"id": "th-100"}, {"id": "th-101"}]


def test_threads_are_fetched_at_the_same_time_within_the_limit(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_max_concurrency=5)
    ids = [f"th-{number}" for number in range(100, 140)]
    sandbox.faults.add(Fault("thread", hold="all"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(gateway.data, "query ($ids: [ID!]!) { threads(ids: $ids) { id } }", ids=ids)
        sandbox.wait_for_calls(5, "thread")
        sandbox.release("all")
        assert [each["id"] for each in answer.result()["threads"]] == ids
    assert sandbox.max_concurrent == 5


def test_profile_and_messages_cost_a_call_only_when_selected(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.data('{ thread(id: "th-1") { customers { externalId } messageCount } }')
    assert (sandbox.count("customer"), sandbox.count("messages")) == (0, 0)
    data = gateway.data("""{
      thread(id: "th-1") {
        customers { externalId profile { customer { externalId } customFields { fieldId id name value } } }
        messages(first: 2) { nodes { id } }
      }
    }""")
    customers = data["thread"]["customers"]
    assert [each["profile"]["customer"]["externalId"] for each in customers] == [
        each["externalId"] for each in customers
    ]
    fields = [field for each in customers for field in each["profile"]["customFields"]]
    assert [each["fieldId"] for each in fields] == [each["id"] for each in fields]
    assert any(isinstance(each["fieldId"], int) for each in fields)
    assert sandbox.count("customer") == len({each["externalId"] for each in customers}) > 1
    assert sandbox.count("messages") == 1


def test_a_customer_is_found_by_its_external_id(gateway: Gateway, sandbox: Sandbox) -> None:
    body = seed().customers["cu-1"]
    data = gateway.data("""{
      customer(externalId: "cu-1") { externalId profile { customFields { name value } closedChatCategories { name } } }
      gone: customer(externalId: "cu-none") { id }
    }""")
    assert data["customer"]["externalId"] == "cu-1"
    assert data["customer"]["profile"]["customFields"] == [
        {"name": each.get("name"), "value": each.get("value")} for each in body["custom_fields"]
    ]
    assert data["gone"] is None
    assert sandbox.count("customer") == 2, "the profile is the customer's own call"


@pytest.mark.slow  # a hundred callers
def test_a_hundred_concurrent_callers_all_get_a_response(gateway: Gateway, sandbox: Sandbox) -> None:
    async def ask_all() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=30) as client:
            answers = await asyncio.gather(
                *(
                    client.post("/graphql", json={"query": f'{{ thread(id: "th-{n}") {{ id }} }}'})
                    for n in range(100, 200)
                )
            )
        return [each.json() for each in answers]

    assert asyncio.run(ask_all()) == [{"data": {"thread": {"id": f"th-{n}"}}} for n in range(100, 200)]
    assert sandbox.count("token") == 1, "the token is fetched once for any number of requests"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_id", True),
        ("client_id", "1_0"),
        ("client_id", " 10"),
        ("client_id", "\u0661"),
        ("updated_at", True),
        ("id", True),
        ("tags", [True]),
    ],
)
@pytest.mark.parametrize("plans", [True, False])
def test_a_value_that_only_converts_by_accident_is_an_invalid_response(
    start: StartGateway, sandbox: Sandbox, plans: bool, field: str, value: Any
) -> None:
    sandbox.faults.add(Fault("thread", patch={field: value}))
    answer = start(plans=plans).query('{ thread(id: "th-1") { clientId updatedAt id tags } }')
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"


@pytest.mark.parametrize("value", [0.5, 2, "true"])
def test_a_boolean_is_true_or_false(gateway: Gateway, sandbox: Sandbox, value: Any) -> None:
    sandbox.faults.add(Fault("thread", patch={"attachments": [{"id": "a", "file_not_dangerous": value}]}))
    answer = gateway.query('{ thread(id: "th-1") { attachments { fileNotDangerous } } }')
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "UPSTREAM_INVALID_RESPONSE"
    assert error["path"] == ["thread", "attachments", 0, "fileNotDangerous"]


@pytest.mark.parametrize("variable", ["ID!", "[ID!]!"])
def test_an_id_of_more_than_64_bits_is_refused_without_a_call(
    gateway: Gateway, sandbox: Sandbox, variable: str
) -> None:
    field = "thread(id: $a)" if variable == "ID!" else "threads(ids: $a)"
    query = f"query ($a: {variable}) {{ {field} {{ id }} }}"
    value = 10**100 if variable == "ID!" else [1, 10**100]
    assert gateway.code(query, a=value) == "BAD_USER_INPUT"
    assert sandbox.count() == 0
