from collections.abc import Iterator
from typing import Any

import pytest

from gateway.sandbox import Seed, seed

# Copied from the contract.
FIELDS = {
    "Thread": "attachments client_id contacts created_at customers external_message_ids id last_message message_count"
    " reminder review_groups status tags updated_at",
    "ThreadReminder": "delay next_date number_left",
    "Message": "agent_id attachments bcc cc content created_at delivery error_when_trying_to_send external_message_id"
    " from id mailbox_id origin priority raw_message read_by_agents reply_to_external_message_id subject to",
    "Attachment": "attachment_movements file_mime file_name file_not_dangerous file_size file_type id",
    "AttachmentMovements": "movements total",
    "AttachmentMovedTo": "agent_id customer_id file_id",
    "Customer": "account_number account_type alias_ids client_id comment company_name contacts created_at created_by"
    " custom_fields customer_type date_of_birth disabled domicile_code domicile_codes external_id first_name id"
    " kyc_level last_name middle_name name_variations nationality_code nationality_codes phone registration_number"
    " review_groups revision_number trading_name",
    "CustomerNameVariation": "company_name first_name last_name middle_name trading_name",
    "CustomerDetail": "customer custom_fields closed_chat_categories",
    "Field": "fieldtype id name value",
}
NESTED = {
    "Thread": {
        "attachments": "Attachment",
        "customers": "Customer",
        "last_message": "Message",
        "reminder": "ThreadReminder",
    },
    "Message": {"attachments": "Attachment"},
    "Attachment": {"attachment_movements": "AttachmentMovements"},
    "AttachmentMovements": {"movements": "AttachmentMovedTo"},
    "Customer": {"name_variations": "CustomerNameVariation"},
    "CustomerDetail": {"customer": "Customer", "custom_fields": "Field", "closed_chat_categories": "Field"},
}
ALWAYS_THERE = {
    ("Thread", "id"),
    ("Message", "id"),
    ("Attachment", "id"),
    ("Customer", "id"),
    ("CustomerDetail", "customer"),
}
EVERY_FIELD = [(kind, name) for kind, names in FIELDS.items() for name in names.split()]
EMPTY: tuple[object, ...] = ([], {})


def objects(kind: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object inside a body, itself first, with its type in the contract."""
    if isinstance(body, list):
        for item in body:
            yield from objects(kind, item)
    elif body is not None:
        yield kind, body
        for name, inner in NESTED.get(kind, {}).items():
            yield from objects(inner, body.get(name))


@pytest.fixture(scope="module")
def data() -> Seed:
    return seed()


@pytest.fixture(scope="module")
def found(data: Seed) -> dict[str, list[dict[str, Any]]]:
    everything: dict[str, list[dict[str, Any]]] = {kind: [] for kind in FIELDS}
    bodies = [("Thread", [*data.threads.values()]), ("CustomerDetail", [*data.customers.values()])]
    for kind, body in [*bodies, *(("Message", page) for page in data.messages.values())]:
        for inner, item in objects(kind, body):
            everything[inner].append(item)
    return everything


@pytest.mark.parametrize(("kind", "name"), EVERY_FIELD)
def test_every_field_is_present_null_and_absent_somewhere(
    found: dict[str, list[dict[str, Any]]], kind: str, name: str
) -> None:
    assert any(item.get(name) not in (None, *EMPTY) for item in found[kind])
    if (kind, name) not in ALWAYS_THERE:
        assert any(item.get(name, "") is None for item in found[kind])
        assert any(name not in item for item in found[kind])


@pytest.mark.parametrize("kind", FIELDS)
def test_no_field_is_invented_except_those_marked_as_unknown(found: dict[str, list[dict[str, Any]]], kind: str) -> None:
    names = {name for item in found[kind] for name in item if not name.startswith("x_")}
    assert names == set(FIELDS[kind].split())


def test_every_list_is_empty_somewhere_and_full_somewhere(found: dict[str, list[dict[str, Any]]]) -> None:
    for kind, names in FIELDS.items():
        for name in names.split():
            lists = [item[name] for item in found[kind] if isinstance(item.get(name), list)]
            if lists and name != "value":
                assert [] in lists, (kind, name)
                assert any(lists), (kind, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Thread", "status"), ("Message", "delivery"), ("Message", "origin"), ("Customer", "account_type")],
)
def test_an_enumeration_of_unknown_values_has_strings_and_integers(
    found: dict[str, list[dict[str, Any]]], kind: str, name: str
) -> None:
    assert {str, int} <= {type(item.get(name)) for item in found[kind]}


def test_files_are_huge_safe_dangerous_and_not_verified_yet(found: dict[str, list[dict[str, Any]]]) -> None:
    assert any(file.get("file_size") == 2**40 for file in found["Attachment"])
    assert {file.get("file_not_dangerous", "absent") for file in found["Attachment"]} == {True, False, None, "absent"}


def test_the_data_is_the_same_every_time_and_not_shared(data: Seed) -> None:
    again = seed()
    assert again == data
    assert again.threads["th-1"] is not data.threads["th-1"]


def test_the_sparse_and_the_null_thread(data: Seed) -> None:
    assert set(data.threads["th-2"]) == {"id", "status"}
    assert set(data.threads["th-3"]) == set(FIELDS["Thread"].split())
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
