"""The requests of a federation router to a subgraph."""

from typing import Any

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.harness import Gateway, StartGateway

ENTITIES = """query ($representations: [_Any!]!) {
  _entities(representations: $representations) {
    __typename
    ... on Thread { id messageCount }
    ... on Customer { externalId profile { customFields { name } } }
  }
}"""


def thread(identifier: Any) -> dict[str, Any]:
    return {"__typename": "Thread", "id": identifier}


def customer(external_id: Any) -> dict[str, Any]:
    return {"__typename": "Customer", "externalId": external_id}


def test_entities_have_the_order_of_their_representations(gateway: Gateway, sandbox: Sandbox) -> None:
    representations = [thread("th-100"), customer("cu-1"), thread("nowhere"), thread("th-100"), customer("cu-2")]
    entities = gateway.data(ENTITIES, representations=representations)["_entities"]
    assert [each and each["__typename"] for each in entities] == ["Thread", "Customer", None, "Thread", "Customer"]
    assert entities[0] == entities[3]
    assert (sandbox.count("thread"), sandbox.count("customer")) == (2, 2)


def test_an_entity_that_fails_is_null_with_its_error_and_the_others_are_returned(
    gateway: Gateway, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("thread", "th-150", status=500))
    representations = [thread(f"th-{number}") for number in range(100, 200)]
    answer = gateway.query(ENTITIES, representations=representations)
    entities = answer["data"]["_entities"]
    assert [index for index, entity in enumerate(entities) if entity is None] == [50]
    (error,) = answer["errors"]
    assert error["path"] == ["_entities", 50]
    assert error["extensions"]["code"] == "UPSTREAM_ERROR"
    assert sandbox.count("thread") == 100


@pytest.mark.parametrize(
    "representation",
    [
        {"__typename": "Message", "id": "m-1"},
        {"__typename": "Customer", "id": "c-1"},
        {"__typename": "Nothing", "id": "1"},
        {"id": "th-1"},
        thread(None),
        thread({"deep": 1}),
        thread(True),
        thread(""),
        "th-1",
        [],
        7,
    ],
)
def test_an_invalid_representation_has_an_error_of_its_own(gateway: Gateway, representation: Any) -> None:
    answer = gateway.query(ENTITIES, representations=[representation, thread("th-100")])
    assert answer["data"]["_entities"][0] is None
    assert answer["data"]["_entities"][1]["id"] == "th-100"
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_key_of_more_than_64_bits_is_refused_without_a_call(gateway: Gateway, sandbox: Sandbox) -> None:
    answer = gateway.query(ENTITIES, representations=[thread(2**63), thread(-(2**63) - 1), thread(10**100)])
    assert answer["data"]["_entities"] == [None, None, None]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
    assert sandbox.count() == 0


def test_one_entity_many_times_is_one_entity(gateway: Gateway, sandbox: Sandbox) -> None:
    entities = gateway.data(ENTITIES, representations=[thread("th-100")] * 250)["_entities"]
    assert [each["id"] for each in entities] == ["th-100"] * 250
    assert sandbox.count("thread") == 1


def test_too_many_entities_have_an_error_with_a_path(start: StartGateway) -> None:
    gateway = start(max_cost=2)
    answer = gateway.query(ENTITIES, representations=[thread(str(number)) for number in range(3)])
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["path"]) == ("MAX_COST_LIMIT", ["_entities"])


def test_a_key_may_be_a_number(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.data(ENTITIES, representations=[thread(12)])
    assert sandbox.calls[-1].path == "/api/v1/thread/12"


def test_fields_that_a_router_adds_to_a_representation_are_ignored(gateway: Gateway) -> None:
    representation = {**thread("th-100"), "riskScore": 7, "info": "x"}
    assert gateway.data(ENTITIES, representations=[representation])["_entities"][0]["id"] == "th-100"


def test_the_same_variables_can_be_sent_twice(gateway: Gateway) -> None:
    """Resolving does not change the representations."""
    document = """query ($r: [_Any!]!) {
      a: _entities(representations: $r) { ... on Thread { id } }
      b: _entities(representations: $r) { ... on Thread { id } }
    }"""
    data = gateway.data(document, r=[thread("th-100")])
    assert data["a"] == data["b"] == [{"id": "th-100"}]
