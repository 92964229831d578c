"""The demo data: deterministic, invented, with every field of the contract full, null, empty and absent."""

from dataclasses import dataclass

from gateway.sandbox.letters import DESK, attachment, conversation, message, movements, rich_letter, stamp
from gateway.sandbox.people import (
    Body,
    contact,
    customers,
    detail,
    firm,
    individual,
    name_variation,
    nameless,
    nulls,
    sparse,
)


@dataclass(frozen=True, slots=True)
class Seed:
    """What a sandbox serves at first. The bodies are the REST API's; nothing changes them in place."""

    threads: dict[str, Body]
    """By thread id."""
    messages: dict[str, list[Body]]
    """By thread id, oldest first."""
    customers: dict[str, Body]
    """The detail bodies, by external id."""


def seed() -> Seed:
    """Return the demo data: the same on every call, and nobody else's to change."""
    messages = _messages()
    threads = [
        _rich(messages["th-1"]),
        _sparse(),
        _null(),
        _nulls_inside(messages["th-4"]),
        _gaps_inside(),
        _big(messages["th-big"]),
        _ordinary("th-long", 0, messages["th-long"]),
        _ordinary("th-ünï/code?", 1, messages["th-ünï/code?"]),
        *(_ordinary(f"th-{n}", n, messages[f"th-{n}"]) for n in range(100, 200)),
    ]
    return Seed(
        threads={thread["id"]: thread for thread in threads},
        messages=messages,
        customers={customer["external_id"]: detail(customer) for customer in customers()},
    )


def _messages() -> dict[str, list[Body]]:
    return {
        "th-1": [*conversation("th-1", 3), rich_letter()],
        "th-2": [],
        "th-3": [],
        "th-4": [{"id": "th-4-m1"}, nulls(message("th-4-m2", 0), id="th-4-m2"), _null_letter()],
        "th-5": [{"id": "th-5-m1"}],
        "th-big": [_big_letter()],
        "th-long": conversation("th-long", 1000),
        "th-ünï/code?": conversation("th-uni", 2),
        **{f"th-{n}": conversation(f"th-{n}", 1 + n % 3) for n in range(100, 200)},
    }


def _thread(ident: str, messages: list[Body], **changes: object) -> Body:
    body: Body = {
        "attachments": [],
        "client_id": 7,
        "contacts": [contact(1), DESK],
        "created_at": stamp(0),
        "customers": [],
        "external_message_ids": [letter.get("external_message_id") for letter in messages[:5]],
        "id": ident,
        "last_message": messages[-1],
        "message_count": len(messages),
        "reminder": None,
        "review_groups": [],
        "status": "Open",
        "tags": [],
        "updated_at": messages[-1].get("created_at"),
    }
    return {**body, **changes}


def _rich(messages: list[Body]) -> Body:
    return _thread(
        "th-1",
        messages,
        attachments=[*messages[-1]["attachments"], attachment("at-0", moved=2)],
        contacts=[contact(1), contact(2), contact(5), DESK],
        customers=[individual(1), firm(2), individual(5)],
        reminder={"delay": 3600, "next_date": stamp(1440), "number_left": 2},
        review_groups=["night-desk", "Drachenprüfung"],
        tags=["kite", "été", "🪁", "وسم"],
    )


def _sparse() -> Body:
    return {"id": "th-2", "status": 2}


def _null() -> Body:
    return nulls(_thread("th-3", conversation("th-3", 1)), id="th-3")


def _nulls_inside(messages: list[Body]) -> Body:
    """Return a thread whose objects are there, but with nothing in them but nulls."""
    return _thread(
        "th-4",
        messages,
        attachments=[nulls(attachment("at-40", moved=0), id="at-40")],
        customers=[
            nameless(),
            nulls(individual(0), id="c-no-external-id"),
            individual(0, external_id=None, name_variations=[nulls(name_variation(0))]),
        ],
        contacts=[],
        external_message_ids=[],
        reminder={"delay": None, "next_date": None, "number_left": None},
        status="Waiting",
    )


def _gaps_inside() -> Body:
    """Return a thread whose objects are there, but with most of their fields absent."""
    return {
        "id": "th-5",
        "attachments": [{"id": "at-50"}],
        "customers": [sparse(), {"id": "c-bare", "name_variations": [{}]}],
        "last_message": {"id": "th-5-m1", "attachments": [{"id": "at-51", "attachment_movements": {}}]},
        "reminder": {},
        "x_undocumented": ["ignore", {"me": True}],
    }


def _null_letter() -> Body:
    files = [
        attachment("at-41", moved=0, attachment_movements=nulls(movements(0))),
        attachment("at-42", moved=0, attachment_movements={"movements": [nulls(movements(1)["movements"][0]), {}]}),
    ]
    return nulls(message("th-4-m3", 0), id="th-4-m3", attachments=files)


def _big(messages: list[Body]) -> Body:
    people = [
        individual(
            n,
            external_id=f"cu-{n}" if n < 13 else f"cu-big-{n}",
            name_variations=[*map(name_variation, (n, n + 1))],
        )
        for n in range(1, 51)
    ]
    return _thread("th-big", messages, customers=people, status=1)


def _big_letter() -> Body:
    files = [attachment(f"at-big-{n}", moved=5) for n in range(200)]
    return message("th-big-m1", 5, attachments=files)


def _ordinary(ident: str, n: int, messages: list[Body]) -> Body:
    statuses: tuple[int | str, ...] = ("Open", 1, "Waiting", 2, "Reminder", 3, "Closed")
    people = ([], [individual(5)], [firm(6)], [individual(7), firm(8)])[n % 4]
    return _thread(ident, messages, customers=people, status=statuses[n % len(statuses)], tags=[f"batch-{n % 10}"])
