"""The data of the sandbox: what is special in it. What it has of each field is in test_sandbox_contract.py."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.sandbox import Seed, seed
from gateway.sandbox.fixtures.messages import DESK
from gateway.upstream.contract import TYPES


def objects(kind: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object inside a body, itself first, with its type in the contract."""
    if isinstance(body, list):
        for item in body:
            yield from objects(kind, item)
    elif body is not None and kind in TYPES:
        yield kind, body
        for field in TYPES[kind].fields:
            yield from objects(field.of, body.get(field.name))


@pytest.fixture(scope="module")
def data() -> Seed:
    return seed()


@pytest.fixture(scope="module")
def found(data: Seed) -> dict[str, list[dict[str, Any]]]:
    everything: dict[str, list[dict[str, Any]]] = {kind: [] for kind in TYPES}
    bodies = [("Thread", [*data.threads.values()]), ("CustomerProfile", [*data.customers.values()])]
    for kind, body in [*bodies, *(("Message", page) for page in data.messages.values())]:
        for inner, item in objects(kind, body):
            everything[inner].append(item)
    return everything


def test_files_are_huge_safe_dangerous_and_not_verified_yet(found: dict[str, list[dict[str, Any]]]) -> None:
    assert any(file.get("file_size") == 2**40 for file in found["Attachment"])
    assert {file.get("file_not_dangerous", "absent") for file in found["Attachment"]} == {True, False, None, "absent"}


def test_the_data_is_the_same_every_time_and_not_shared(data: Seed) -> None:
    again = seed()
    assert again == data
    again.messages["th-1"].clear()
    again.threads.clear()
    again.customers.clear()
    assert seed() == data


def test_the_sparse_and_the_null_thread(data: Seed) -> None:
    assert set(data.threads["th-2"]) == {"id", "status"}
    assert set(data.threads["th-3"]) == {each.name for each in TYPES["Thread"].fields}
    assert {value for name, value in data.threads["th-3"].items() if name != "id"} == {None}


def test_the_rich_thread_has_files_movements_and_customers_with_details(data: Seed) -> None:
    thread = data.threads["th-1"]
    assert {file["attachment_movements"]["total"] for file in thread["last_message"]["attachments"]} == {0, 1, 3}
    assert thread["customers"][0]["name_variations"]
    for customer in thread["customers"]:
        assert data.customers[customer["external_id"]]["customer"] == customer


def test_the_big_and_the_long_thread_have_the_documented_size(data: Seed) -> None:
    big = data.threads["th-big"]
    assert [len(file["attachment_movements"]["movements"]) for file in big["last_message"]["attachments"]] == [5] * 200
    assert [len(customer["name_variations"]) for customer in big["customers"]] == [2] * 50
    assert len(data.messages["th-long"]) == 1000
    assert len({message["id"] for message in data.messages["th-long"]}) == 1000


def test_there_are_a_hundred_ordinary_threads_and_one_whose_id_needs_encoding(data: Seed) -> None:
    assert {f"th-{n}" for n in range(100, 200)} | {"th-ünï/code?"} <= set(data.threads)
    assert set(data.messages) == set(data.threads)


def test_the_count_and_the_last_message_of_a_thread_fit_its_messages(data: Seed) -> None:
    for ident, thread in data.threads.items():
        if thread.get("message_count") is not None:
            assert thread["message_count"] == len(data.messages[ident])
            assert thread["last_message"] == data.messages[ident][-1]


def test_customers_are_persons_and_firms_and_one_id_needs_encoding(data: Seed) -> None:
    kinds = {detail["customer"].get("account_type") for detail in data.customers.values()}
    assert {"N", "F", 1, None} == kinds
    assert {f"cu-{n}" for n in range(1, 13)} | {"cu-ø/13?"} == set(data.customers)


def test_a_message_has_an_agent_only_if_the_desk_wrote_it(found: dict[str, list[dict[str, Any]]]) -> None:
    """Message.agentId: the agent who wrote the message; null where a customer did."""
    written = [each for each in found["Message"] if each.get("from")]
    assert {each["from"] == DESK for each in written} == {True, False}
    assert [each["id"] for each in written if (each["from"] == DESK) != (each["agent_id"] is not None)] == []


def test_a_file_is_of_the_type_that_its_name_and_media_type_say(found: dict[str, list[dict[str, Any]]]) -> None:
    types = {"application/pdf": "pdf", "image/tiff": "tiff", "application/x-msdownload": "exe"}
    named = [each for each in found["Attachment"] if each.get("file_name")]
    assert [each["id"] for each in named if not each["file_name"].endswith("." + each["file_type"])] == []
    assert [each["id"] for each in named if types[each["file_mime"]] != each["file_type"]] == []


def test_a_thread_has_the_external_ids_of_its_messages(data: Seed) -> None:
    for ident, thread in data.threads.items():
        messages = data.messages[ident]
        if thread.get("external_message_ids"):
            assert thread["external_message_ids"] == [each["external_message_id"] for each in messages]


def test_a_person_has_no_company_and_a_firm_no_birthday(found: dict[str, list[dict[str, Any]]]) -> None:
    named = [each for each in found["Customer"] if each.get("account_type") in {"N", "F"}]
    persons = [each for each in named if each["account_type"] == "N"]
    firms = [each for each in named if each["account_type"] == "F"]
    assert persons
    assert firms
    assert {(each.get("company_name"), each.get("registration_number")) for each in persons} == {(None, None)}
    assert {(each.get("date_of_birth"), each.get("first_name")) for each in firms} == {(None, None)}
