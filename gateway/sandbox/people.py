"""Invented customers: the bodies in a thread's `customers`, and those of the customers endpoint."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

Body: TypeAlias = dict[str, Any]
"""A JSON object as the REST API sends it."""

_NAMES: Final = (
    ("Zephyrine", "Quillon"),
    ("Tobrik", "Vandermoss"),
    ("Örsölya", "Brámblebý"),
    ("نجمة", "القمرية"),  # right to left
    ("Zoe\u0308lia", "N\u0303andu\u0301"),  # combining marks, not composed
    ("月乃", "風車"),
    ("Pip 🪁", "Ó Kestrelwing"),
    ("Wim", "van der Lantaarn-Zó"),
)


def nulls(body: Body, **kept: object) -> Body:
    """Return a body with the same keys, all null but those given."""
    return {**dict.fromkeys(body), **kept}


def name_variation(n: int) -> Body:
    """Return a name somebody is also known by, with every field."""
    first, last = _NAMES[n % len(_NAMES)]
    return {
        "company_name": f"Paper Kite Works No. {n}",
        "first_name": first,
        "last_name": last,
        "middle_name": "ß",
        "trading_name": f"Kite & Söhne {n} 🪁",
    }


def individual(n: int, **changes: object) -> Body:
    """Return a natural person, with every field of the contract."""
    first, last = _NAMES[n % len(_NAMES)]
    body: Body = {
        "account_number": f"AC-{n:06}",
        "account_type": "N",
        "alias_ids": [f"alias-{n}-a", f"alias-{n}-b"],
        "client_id": "7",
        "comment": 'Prefers letters by kite.\nSecond line, with \t a tab and "quotes".',
        "company_name": None,
        "contacts": contact(n),
        "created_at": "2018-08-03T12:31:34Z",
        "created_by": 41,
        "custom_fields": {
            "favourite_colour": "ochre",
            "17": [1, 2.5, {"deep": [None, True]}],
            "ключ": "значение",
        },
        "customer_type": "client",
        "date_of_birth": f"19{60 + n % 40}-02-28",
        "disabled": False,
        "domicile_code": "LI",
        "domicile_codes": ["LI", "IS"],
        "external_id": f"cu-{n}",
        "first_name": first,
        "id": f"c{n:04}",
        "kyc_level": n % 4,
        "last_name": last,
        "middle_name": "",
        "name_variations": [name_variation(n), name_variation(n + 1)],
        "nationality_code": "LI",
        "nationality_codes": ["LI"],
        "phone": f"+1-555-01{n % 100:02}",
        "registration_number": None,
        "review_groups": ["night-desk"],
        "revision_number": f"{n}.0",
        "trading_name": None,
    }
    return {**body, **changes}


def firm(n: int, **changes: object) -> Body:
    """Return a firm: the fields of a person are null, the lists empty, the flags the other way round."""
    return individual(
        n,
        **{
            "account_type": "F",
            "alias_ids": [],
            "company_name": f"Moonbeam Umbrella Repair {n} GmbH & Co. KG",
            "custom_fields": {},
            "date_of_birth": None,
            "disabled": True,
            "domicile_codes": [],
            "first_name": None,
            "kyc_level": None,
            "last_name": None,
            "middle_name": None,
            "name_variations": [],
            "nationality_code": None,
            "nationality_codes": [],
            "phone": f"+44 20 7946 0{n % 1000:03}",
            "registration_number": f"LI-{n:07}",
            "review_groups": [],
            "trading_name": "☂ Moonbeam",
            **changes,
        },
    )


def contact(n: int) -> str:
    """Return the address of the customer with this number."""
    return f"customer{n}@letters.example"


def nameless() -> Body:
    """Return a customer with every field null, but the two ids."""
    return nulls(individual(3), id="c0003", external_id="cu-3")


def sparse() -> Body:
    """Return a customer with nothing but the two ids."""
    return {"id": "c0004", "external_id": "cu-4"}


def customers() -> list[Body]:
    """Return the customers the customers endpoint knows, `cu-1` to `cu-12` and one id that needs encoding."""
    some: Iterable[Body] = (
        firm(n) if n % 2 == 0 else individual(n, account_type=1 if n == 9 else "N") for n in range(5, 13)
    )
    return [individual(1), firm(2), nameless(), sparse(), *some, individual(13, external_id="cu-ø/13?")]


def detail(customer: Body) -> Body:
    """Return the body of the customers endpoint, with a key that the contract does not name."""
    body: Body = {"customer": customer, "x_undocumented": {"score": 0.5, "since": None}}
    if customer["external_id"] == "cu-4":
        return body
    if customer["external_id"] == "cu-3":
        return {**body, "custom_fields": None, "closed_chat_categories": None}
    fields = [] if customer.get("account_type") == "F" else _custom_fields()
    return {**body, "custom_fields": fields, "closed_chat_categories": _categories()}


def _custom_fields() -> list[Body]:
    values: tuple[tuple[str, object], ...] = (
        ("text", "ochre 🟠"),
        ("number", 12.75),
        ("boolean", False),
        ("list", ["a", None, 3]),
        ("object", {"deep": {"er": []}}),
        ("text", None),
    )
    full: list[Body] = [
        {"fieldtype": kind, "id": n, "name": f"Field {n}", "value": value}
        for n, (kind, value) in enumerate(values, start=1)
    ]
    return [*full, nulls(full[0]), {}]


def _categories() -> Body:
    return {
        "fieldtype": "list",
        "id": 99,
        "name": "Closed chat categories",
        "value": ["Lost kite", "Wet umbrella"],
    }
