"""Fields that need a scope: null and FORBIDDEN without it, by a plan and by the reference."""

import asyncio
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import msgspec
import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, get_named_type, is_leaf_type
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import Viewer
from gateway.compat.strawberry import graphql_schema
from gateway.execution.engine import Engine
from gateway.execution.operation import Operation
from gateway.schema import build_schema
from gateway.schema.field_scopes import CONTENT, PERSONAL, scope_of
from tests.execution.common_queries import COMMON
from tests.execution.comparison import documents, engine, run
from tests.execution.operations import operations
from tests.execution.test_plan_equals_reference import PROPERTY
from tests.execution.worlds import World, worlds

SCHEMA = build_schema(field_scopes=True)
PLANNED = engine(schema=SCHEMA)
REFERENCE = engine(schema=SCHEMA, plans=False)
REFERENCE.documents = PLANNED.documents
ALL = frozenset({PERSONAL, CONTENT})
SOME = [frozenset(some) for size in range(3) for some in combinations(sorted(ALL), size)]
GUARDED = sorted(
    (graphql_type.name, name, scope)
    for graphql_type in graphql_schema(SCHEMA).type_map.values()
    if isinstance(graphql_type, GraphQLObjectType) and graphql_type.name != "Mutation"  # tests/writes tries those
    for name, field in graphql_type.fields.items()
    if (scope := scope_of(field)) is not None
)
BODIES = {
    "/api/v1/thread/1": {
        "id": "1",
        "contacts": ["ada@example.org"],
        "last_message": {"id": "m", "content": "hello", "attachments": [{"id": "a", "file_name": "passport.pdf"}]},
        "customers": [{"id": "c", "external_id": "e", "last_name": "Lovelace", "domicile_codes": ["GB"]}],
    },
    "/api/v1/customers/e": {
        "customer": {"id": "c", "external_id": "e", "last_name": "Lovelace", "phone": "1"},
        "custom_fields": [{"id": 1, "value": "secret"}],
    },
}


def viewer(scopes: frozenset[str] = frozenset()) -> Viewer:
    return Viewer("Bearer token", "sub:alice", scopes)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@PROPERTY
@given(operation=operations(), world=worlds(), scopes=st.sampled_from(SOME))
def test_plan_equals_reference_with_any_scopes(
    loop: asyncio.Runner, operation: Operation, world: World, scopes: frozenset[str]
) -> None:
    mine = loop.run(run(PLANNED, operation, world, viewer=viewer(scopes)))
    theirs = loop.run(run(REFERENCE, operation, world, viewer=viewer(scopes)))
    assert mine == theirs, f"{operation} with {sorted(scopes)}"


@pytest.mark.parametrize("query", COMMON.values(), ids=COMMON.keys())
async def test_a_caller_with_all_scopes_gets_the_response_of_a_gateway_without_scopes(query: str) -> None:
    operation = Operation(query, "Q" if "Other" in query else None, {"id": "1"})
    answer = documents(BODIES)
    assert await run(PLANNED, operation, answer, viewer=viewer(ALL)) == await run(engine(), operation, answer)


async def ask(runner: Engine, query: str, scopes: frozenset[str] = frozenset()) -> dict[str, Any]:
    seen = await run(runner, Operation(query), documents(BODIES), viewer=viewer(scopes))
    answer: dict[str, Any] = msgspec.json.decode(seen.body)
    return answer


@pytest.mark.parametrize(("type_name", "name", "scope"), GUARDED)
@pytest.mark.parametrize("runner", [PLANNED, REFERENCE], ids=["planned", "reference"])
async def test_each_field_is_null_and_forbidden_at_its_own_path(
    runner: Engine, type_name: str, name: str, scope: str
) -> None:
    """Also if there is no value, since the absence of a value is information as well."""
    paths: dict[str, list[Any]] = {
        "Thread": ["thread"],
        "Message": ["thread", "lastMessage"],
        "Attachment": ["thread", "lastMessage", "attachments", 0],
        "Customer": ["thread", "customers", 0],
        "CustomerProfile": ["thread", "customers", 0, "profile"],
    }
    path = paths[type_name]
    field = graphql_schema(SCHEMA).type_map[type_name].fields[name]  # type: ignore[attr-defined]
    selected = name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"
    query = f"__typename x: {selected}"
    for step in reversed(path):
        query = query if step == 0 else f"{step}{'(id: 1)' if step == 'thread' else ''} {{ {query} }}"
    for scopes in SOME:
        answer = await ask(runner, f"{{ {query} }}", scopes)
        value = answer["data"]
        for step in path:
            value = value[step]
        if scope in scopes:
            assert "errors" not in answer
            continue
        assert value == {"__typename": type_name, "x": None}
        (error,) = answer["errors"]
        assert error["path"] == [*path, "x"]
        assert error["message"] == f"This field needs the scope {scope}."
        assert error["extensions"] == {"code": "FORBIDDEN", "requestId": "request"}


def test_personal_data_and_the_content_of_messages_are_guarded() -> None:
    by_type: dict[str, list[str]] = {}
    for type_name, name, _ in GUARDED:
        by_type.setdefault(type_name, []).append(name)
    assert by_type == {
        "Attachment": ["fileName"],
        "Customer": [
            *("accountNumber", "comment", "companyName", "contacts", "customFields", "dateOfBirth", "domicileCode"),
            *("domicileCodes", "firstName", "kycLevel", "lastName", "middleName", "nameVariations", "nationalityCode"),
            *("nationalityCodes", "phone", "registrationNumber", "tradingName"),
        ],
        "CustomerProfile": ["customFields"],
        "Message": ["bcc", "cc", "content", "errorWhenTryingToSend", "from", "rawMessage", "subject", "to"],
        "Thread": ["contacts"],
    }
    assert {scope for _, _, scope in GUARDED} == ALL


def test_each_guarded_field_is_nullable() -> None:
    for type_name, name, _ in GUARDED:
        field = graphql_schema(SCHEMA).type_map[type_name].fields[name]  # type: ignore[attr-defined]
        assert not isinstance(field.type, GraphQLNonNull), f"{type_name}.{name}"


async def test_a_caller_with_the_scope_gets_an_empty_list_and_not_null() -> None:
    answer = await ask(PLANNED, "{ thread(id: 1) { customers { nameVariations { lastName } } } }", ALL)
    assert answer == {"data": {"thread": {"customers": [{"nameVariations": []}]}}}


async def test_a_plan_answers_a_caller_with_the_scopes_of_its_fields() -> None:
    personal, content = frozenset({PERSONAL}), frozenset({CONTENT})
    cases = [
        ("{ thread(id: 1) { id } }", frozenset(), True),
        ("{ thread(id: 1) { customers { lastName } } }", personal, True),
        ("{ thread(id: 1) { customers { lastName } } }", content, False),
        ("{ thread(id: 1) { customers { lastName } lastMessage { content } } }", personal, False),
        ("{ thread(id: 1) { customers { lastName @skip(if: true) } } }", frozenset(), True),
        ("{ thread(id: 1) { messages { nodes { attachments { fileName } } } } }", frozenset(), False),
        ("{ thread(id: 1) { ...F } } fragment F on Thread { customers { profile { customer { phone } } } }",
         frozenset(), False),
        ('{ _entities(representations: [{__typename: "Customer", externalId: "e"}]) { ... on Customer { phone } } }',
         frozenset(), False),
        ('{ _entities(representations: [{__typename: "Customer", externalId: "e"}]) { ... on Thread { contacts } } }',
         personal, True),
    ]  # fmt: skip
    for query, scopes, planned in cases:
        runner = engine(schema=SCHEMA)
        await ask(runner, query, scopes)
        assert (runner.counters.planned, dict(runner.counters.stood_aside)) == (
            (1, {}) if planned else (0, {"scope": 1})
        ), query


async def test_entities_are_guarded() -> None:
    query = """{ _entities(representations: [{__typename: "Customer", externalId: "e"}]) {
      ... on Customer { id lastName profile { customFields { value } } }
    } }"""
    answer = await ask(PLANNED, query)
    assert answer["data"] == {"_entities": [{"id": "c", "lastName": None, "profile": {"customFields": None}}]}
    assert [error["path"] for error in answer["errors"]] == [
        ["_entities", 0, "lastName"],
        ["_entities", 0, "profile", "customFields"],
    ]


async def test_a_schema_without_scopes_requires_none() -> None:
    assert await ask(engine(), "{ thread(id: 1) { customers { lastName } } }") == {
        "data": {"thread": {"customers": [{"lastName": "Lovelace"}]}}
    }
    lists = graphql_schema(build_schema()).type_map["Customer"].fields["nameVariations"].type  # type: ignore[attr-defined]
    assert isinstance(lists, GraphQLNonNull)
    assert isinstance(lists.of_type, GraphQLList)


def test_the_schema_declares_scopes_only_if_they_are_enforced() -> None:
    guarded, plain = SCHEMA.as_str(), build_schema().as_str()
    assert 'lastName: String @requiresScopes(scopes: [["customer:personal"]])' in guarded
    mutations = 3
    assert guarded.count("@requiresScopes(scopes:") == len(GUARDED) + mutations
    assert 'import: ["@key", "@requiresScopes", "@shareable"]' in guarded
    assert "requiresScopes" not in plain
