"""Invented messages and the files attached to them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.sandbox.people import Body, contact

DESK: Final = "desk@kite-works.example"
_START: Final = datetime(2024, 3, 1, 9, tzinfo=UTC)


def stamp(minutes: int) -> str:
    """Return a time as the REST API writes it, so many minutes after the start of the story."""
    return (_START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def moved_to(n: int) -> Body:
    """Return where an attachment was filed: as which document of which customer, and by whom."""
    return {"agent_id": 40 + n % 3, "customer_id": f"c{n % 13:04}", "file_id": f"doc-{n}"}


def movements(count: int, *, first: int = 0) -> Body:
    """Return so many movements."""
    return {"movements": [moved_to(first + n) for n in range(count)], "total": count}


def attachment(ident: str, *, moved: int, **changes: object) -> Body:
    """Return a file, with every field of the contract."""
    body: Body = {
        "attachment_movements": movements(moved),
        "file_mime": "application/pdf",
        "file_name": f"{ident}.pdf",
        "file_not_dangerous": True,
        "file_size": 48_213,
        "file_type": "pdf",
        "id": ident,
    }
    return {**body, **changes}


def message(ident: str, minutes: int, **changes: object) -> Body:
    """Return a message from a customer to the desk, with every field of the contract."""
    body: Body = {
        "agent_id": 41,
        "attachments": [],
        "bcc": "",
        "cc": f"{contact(2)}, {contact(5)}",
        "content": "The kite arrived, the string did not. 🪁",
        "created_at": stamp(minutes),
        "delivery": "Sent",
        "error_when_trying_to_send": None,
        "external_message_id": f"<{ident}@letters.example>",
        "from": contact(1),
        "id": ident,
        "mailbox_id": "mb-1",
        "origin": "web",
        "priority": 3,
        "raw_message": None,
        "read_by_agents": [40, 41],
        "reply_to_external_message_id": None,
        "subject": "Re: a kite without a string",
        "to": DESK,
    }
    return {**body, **changes}


def conversation(thread_id: str, count: int) -> list[Body]:
    """Return so many plain messages, oldest first: questions and answers in turn."""
    return [_turn(f"{thread_id}-m{n}", n) for n in range(1, count + 1)]


def _turn(ident: str, n: int) -> Body:
    if n % 2:
        return message(ident, n, content=f"Question {n}", delivery=1, origin=2, read_by_agents=[])
    return message(ident, n, content=f"Answer {n}", agent_id=42, to=contact(1), **{"from": DESK})


def rich_letter() -> Body:
    """Return the last message of `th-1`: three files, one of them huge, one unverified, one dangerous."""
    files = [
        attachment("at-1", moved=3, file_name="Fluglizenz für Drachen 🪁.pdf"),
        attachment("at-2", moved=1, file_size=2**40, file_not_dangerous=None, file_name="صورة.tiff", file_type="tiff"),
        attachment("at-3", moved=0, file_not_dangerous=False, file_mime="application/x-msdownload", file_type="exe"),
    ]
    return message(
        "th-1-m4",
        90,
        attachments=files,
        bcc="archive@kite-works.example",
        error_when_trying_to_send="mailbox full: ☂",
        raw_message="From: customer1@letters.example\r\nSubject: =?utf-8?q?kite?=\r\n\r\n…",
        reply_to_external_message_id="<th-1-m3@letters.example>",
        subject="Re: e\u0301te\u0301 without a string: مرحبا 👩🏽‍🚀",
    )
