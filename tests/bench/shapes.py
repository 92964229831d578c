"""The three shapes that are measured: a query each, and the upstream document it is asked of."""

import json
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """``query`` asks for the thread ``$id``; ``document`` is what the upstream has for it."""

    name: str
    query: str
    document: bytes

    def request(self, thread_id: str | None = None) -> bytes:
        """Return the body of the POST."""
        return json.dumps({"query": self.query, "variables": {"id": thread_id or self.name}}).encode()


def _attachment(number: int, movements: int) -> Body:
    moved = [{"agent_id": 10 + n, "customer_id": f"c-{n}", "file_id": f"file-{number}-{n}"} for n in range(movements)]
    return {
        "attachment_movements": {"movements": moved, "total": movements},
        "file_mime": "application/pdf",
        "file_name": f"statement-{number}.pdf",
        "file_not_dangerous": True,
        "file_size": 120_000 + number,
        "file_type": "pdf",
        "id": f"attachment-{number}",
    }


def _message(attachments: int, movements: int) -> Body:
    return {
        "agent_id": 12,
        "attachments": [_attachment(number, movements) for number in range(attachments)],
        "bcc": None,
        "cc": "second@example.com",
        "content": "<p>" + "Please find the documents attached. " * 10 + "</p>",
        "created_at": "2018-08-03T12:31:34Z",
        "delivery": "Sent",
        "error_when_trying_to_send": None,
        "external_message_id": "<abc@example.com>",
        "from": "customer@example.com",
        "id": "message-1",
        "mailbox_id": "mailbox-1",
        "origin": "email",
        "priority": 0,
        "raw_message": None,
        "read_by_agents": [12, 13],
        "reply_to_external_message_id": None,
        "subject": "Your documents",
        "to": "agent@example.com",
    }


def _customer(number: int) -> Body:
    variation = {
        "company_name": None,
        "first_name": "Ann",
        "last_name": f"Lee-{number}",
        "middle_name": None,
        "trading_name": None,
    }
    return {
        "account_number": f"{number:08}",
        "account_type": "N",
        "alias_ids": [],
        "client_id": "1",
        "comment": "A customer since the first day.",
        "company_name": None,
        "contacts": f"ann.lee.{number}@example.com",
        "created_at": "2018-08-03T12:31:34Z",
        "created_by": 12,
        "custom_fields": {"segment": "retail", "score": number},
        "customer_type": "individual",
        "date_of_birth": "1980-01-01",
        "disabled": False,
        "domicile_code": "FI",
        "domicile_codes": ["FI"],
        "external_id": f"external-{number}",
        "first_name": "Ann",
        "id": f"customer-{number}",
        "last_name": f"Lee-{number}",
        "middle_name": None,
        "name_variations": [variation, {**variation, "first_name": "Anna"}],
        "nationality_code": "FI",
        "nationality_codes": ["FI"],
        "registration_number": None,
        "review_groups": ["retail"],
        "revision_number": "3",
        "trading_name": None,
    }


def thread(name: str, *, attachments: int, movements: int, customers: int) -> bytes:
    """Return a thread's document; ``attachments`` are those of the thread, each with ``movements``."""
    document = {
        "attachments": [_attachment(number, movements) for number in range(attachments)],
        "client_id": 1,
        "contacts": ["customer@example.com", "agent@example.com"],
        "created_at": "2018-08-03T12:31:34Z",
        "customers": [_customer(number) for number in range(customers)],
        "external_message_ids": ["<abc@example.com>"],
        "id": name,
        "last_message": _message(2, 2),
        "message_count": 7,
        "reminder": {"delay": 3, "next_date": "2018-08-06", "number_left": 2},
        "review_groups": ["retail"],
        "status": 1,
        "tags": ["documents", "retail"],
        "updated_at": "2018-08-03T12:31:34Z",
    }
    return json.dumps(document, separators=(",", ":")).encode()


_ATTACHMENT = "{ id fileName fileSize attachmentMovements { total movements { agentId customerId fileId } } }"
_CUSTOMER = "{ id externalId firstName lastName nameVariations { firstName lastName } }"

SMALL = Shape(
    "small",
    "query Small($id: ID!) { thread(id: $id) { id status messageCount } }",
    thread("small", attachments=1, movements=1, customers=1),
)
NESTED = Shape(
    "nested",
    "query Nested($id: ID!) { thread(id: $id) { id status"
    f" lastMessage {{ id subject from createdAt attachments {_ATTACHMENT} }} customers {_CUSTOMER} }} }}",
    thread("nested", attachments=2, movements=2, customers=3),
)
BIG = Shape(
    "big",
    f"query Big($id: ID!) {{ thread(id: $id) {{ id status attachments {_ATTACHMENT} customers {_CUSTOMER} }} }}",
    thread("big", attachments=200, movements=5, customers=50),
)
SHAPES = (SMALL, NESTED, BIG)
