"""Well-formed bodies of the REST API: they have every field (upstream contract: Thread)."""

from typing import Any

from gateway.upstream.contract import ENUMERATIONS, TYPES, Field

Body = dict[str, Any]


def attachment(name: str) -> Body:
    movement = {"agent_id": 7, "customer_id": "c1", "file_id": f"f-{name}"}
    return {
        "attachment_movements": {"movements": [movement, {**movement, "agent_id": None}], "total": 2},
        "file_mime": "application/pdf",
        "file_name": f"{name}.pdf",
        "file_not_dangerous": True,
        "file_size": 5_000_000_000,
        "file_type": "pdf",
        "id": f"a-{name}",
    }


def message(name: str) -> Body:
    return {
        "agent_id": 3,
        "attachments": [attachment(f"{name}-1"), attachment(f"{name}-2")],
        "bcc": None,
        "cc": "cc@example.com",
        "content": "<p>Grüße 👋 \u2028</p>",
        "created_at": "2018-08-03T12:31:34Z",
        "delivery": "Sent",
        "error_when_trying_to_send": None,
        "external_message_id": f"x-{name}",
        "from": "from@example.com",
        "id": f"m-{name}",
        "mailbox_id": "mb",
        "origin": 4,
        "priority": 1,
        "raw_message": 'raw "quoted" \\ text\n',
        "read_by_agents": [1, 2],
        "reply_to_external_message_id": None,
        "subject": "Subject",
        "to": "to@example.com",
    }


def customer(name: str) -> Body:
    variation = {"company_name": None, "first_name": "A", "last_name": "B", "middle_name": "", "trading_name": "T"}
    return {
        "account_number": "123",
        "account_type": "F",
        "alias_ids": ["x", "y"],
        "client_id": "9",
        "comment": "commented",
        "company_name": "Company",
        "contacts": "contacts",
        "created_at": "2018-08-03T12:31:34Z",
        "created_by": 12,
        "custom_fields": {"a": [1, 2.5, None, {"b": True}], "é": "ü"},
        "customer_type": "firm",
        "date_of_birth": "1980-01-01",
        "disabled": False,
        "domicile_code": "FI",
        "domicile_codes": ["FI"],
        "external_id": f"e-{name}",
        "first_name": "First",
        "id": f"c-{name}",
        "kyc_level": 2,
        "last_name": "Last",
        "middle_name": None,
        "name_variations": [variation, variation],
        "nationality_code": "FI",
        "nationality_codes": ["FI", "SE"],
        "phone": "+358",
        "registration_number": "r",
        "review_groups": ["g"],
        "revision_number": "1",
        "trading_name": "Trading",
    }


def thread(name: str) -> Body:
    return {
        "attachments": [attachment("t1")],
        "client_id": 5,
        "contacts": ["a@example.com", "b@example.com"],
        "created_at": "2018-08-03T12:31:34Z",
        "customers": [customer("1"), customer("2")],
        "external_message_ids": [],
        "id": name,
        "last_message": message("last"),
        "message_count": 4,
        "reminder": {"delay": 3, "next_date": "2020-01-01", "number_left": 1},
        "review_groups": [],
        "status": 2,
        "tags": ["urgent"],
        "updated_at": "2018-08-04T12:31:34Z",
        "not_in_the_schema": {"deep": [1, "two", None]},
    }


def profile(name: str) -> Body:
    field = {"fieldtype": "text", "id": 1, "name": "Field", "value": [1, {"two": None}]}
    return {
        "customer": customer(name),
        "custom_fields": [field, {**field, "value": None}],
        "closed_chat_categories": field,
        "more": 1,
    }


TOTAL = 7
"""How many messages a thread has."""


def page(offset: int, limit: int) -> Body:
    positions = range(offset, min(offset + limit, TOTAL))
    return {"messages": [message(str(position)) for position in positions], "total": TOTAL}


_EXAMPLES: dict[str, Any] = {"str": "text", "int": 3, "bool": True, "object": {"a": [None]}, "any": {"a": 1}}


def example(kind: str) -> Any:
    """Return a body of a type of the contract: every field has a value, and every list has two."""

    def value(field: Field) -> Any:
        one = example(field.of) if field.of in TYPES else 2 if field.of in ENUMERATIONS else _EXAMPLES[field.of]
        return [one, one] if field.is_list else one

    return {each.name: value(each) for each in TYPES[kind].fields}
