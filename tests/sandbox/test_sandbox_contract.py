"""The sandbox agrees with the contract: its routes, the bodies it takes, and the bodies it sends.

The sandbox imports nothing of the gateway, so that it cannot share a mistake with it. Here the two are compared.
"""

import inspect
import ssl
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import quote

import httpx
import msgspec
import pytest

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Sandbox, Seed, sandbox_config, seed
from gateway.sandbox.rest_api import request_bodies
from gateway.sandbox.rest_api.endpoints import ENDPOINTS
from gateway.upstream.contract import ENUMERATIONS, READS, ROUTES, TYPES, WRITES, Field, ObjectType, Read, Write

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNDOCUMENTED = "x_"
"""How the names of fields begin that the sandbox adds, so that unknown fields are seen to be ignored."""
EMPTY: tuple[object, ...] = ([], {})
SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (dict,),
    "any": (object,),
}

Found = dict[str, list[dict[str, Any]]]
"""Every object that the sandbox sends, by its type."""


def objects(kind: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object inside a body, itself first, with its type in the contract."""
    if isinstance(body, list):
        for item in body:
            yield from objects(kind, item)
    elif body is not None and kind in TYPES:
        yield kind, body
        for field in TYPES[kind].fields:
            yield from objects(field.of, body.get(field.name))


def misfits(kind: ObjectType, body: dict[str, Any]) -> Iterator[str]:
    """Yield what of an object is not as the contract says, without the objects inside it."""
    known = {each.name: each for each in kind.fields}
    for name, value in body.items():
        if name in known:
            if value is not None and not fits(known[name], value, is_list=known[name].is_list):
                yield f"{kind.name}.{name} is {value!r}"
        elif not name.startswith(UNDOCUMENTED) and not kind.is_open:
            yield f"{kind.name}.{name} is not in the contract"
    if kind.identified and not isinstance(body.get("id"), str):
        yield f"{kind.name} has no id"


def fits(field: Field, value: Any, *, is_list: bool = False) -> bool:
    if is_list:
        return isinstance(value, list) and all(fits(field, each) for each in value)
    if field.of in TYPES:
        return isinstance(value, dict)
    if field.of in ENUMERATIONS:
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    return isinstance(value, SCALARS[field.of]) and (field.of in {"bool", "any"} or not isinstance(value, bool))


@pytest.fixture(scope="module")
def data() -> Seed:
    return seed()


def answers(route: Read, data: Seed) -> Iterator[Any]:
    """Yield the body of a route for everything that the seed has."""
    identifiers = {"thread": data.threads, "customer": data.customers}[route.subject.kind]
    with (
        BackgroundServer(sandbox_config(Sandbox(data).app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as client,
    ):
        for identifier in identifiers:
            path = route.template.replace(f"{{{route.parameter}}}", quote(identifier, safe=""))
            answer = client.get(path, params={"limit": 100} if route.query else {})
            assert answer.status_code == route.status, path
            yield answer.json()


@pytest.fixture(scope="module")
def found(data: Seed) -> Found:
    everything: Found = {kind: [] for kind in TYPES}
    for route in READS:
        for body in answers(route, data):
            for kind, item in objects(route.response or "", body):
                everything[kind].append(item)
    return everything


def _sent() -> set[str]:
    """Return the types of everything that is read."""
    sent: set[str] = set()
    new = {each.response for each in READS if each.response is not None}
    while new:
        sent |= new
        new = {field.of for kind in new for field in TYPES[kind].fields if field.of in TYPES} - sent
    return sent


SENT = sorted(_sent())


def test_the_sandbox_lists_the_routes_of_the_contract_and_no_others() -> None:
    listed = {each.name: (each.method, each.template) for each in ENDPOINTS}
    assert listed == {name: (each.method, each.template) for name, each in ROUTES.items()}


@pytest.mark.parametrize("kind", SENT)
def test_what_the_sandbox_sends_is_as_the_contract_says(found: Found, kind: str) -> None:
    assert found[kind]
    assert [each for body in found[kind] for each in misfits(TYPES[kind], body)] == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"id": "th-1", "invented": 1}, "Thread.invented is not in the contract"),
        ({"id": "th-1", "message_count": "4"}, "Thread.message_count is '4'"),
        ({"id": "th-1", "message_count": True}, "Thread.message_count is True"),
        ({"id": "th-1", "status": 1.5}, "Thread.status is 1.5"),
        ({"id": "th-1", "tags": ["a", 1]}, "Thread.tags is ['a', 1]"),
        ({"id": "th-1", "tags": "a"}, "Thread.tags is 'a'"),
        ({"id": "th-1", "reminder": "soon"}, "Thread.reminder is 'soon'"),
        ({"id": None}, "Thread has no id"),
        ({"id": "th-1", "tags": None, "x_more": {}}, None),
    ],
)
def test_a_body_that_is_not_as_the_contract_says_is_noticed(body: dict[str, Any], problem: str | None) -> None:
    assert list(misfits(TYPES["Thread"], body)) == ([] if problem is None else [problem])


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, each.name) for kind in SENT for each in TYPES[kind].fields], ids="{0}".format
)
def test_every_field_has_a_value_somewhere_and_is_null_and_absent_elsewhere(found: Found, kind: str, name: str) -> None:
    bodies = [item for item in found[kind] if not is_page(kind)]
    if not bodies:
        return
    assert any(item.get(name) not in (None, *EMPTY) for item in bodies)
    if not (TYPES[kind].identified and name == "id") and (kind, name) != ("CustomerProfile", "customer"):
        assert any(item.get(name, "") is None for item in bodies)
        assert any(name not in item for item in bodies)


def is_page(kind: str) -> bool:
    """Whether it is the body of a route with pages: that is built, and has no gaps."""
    return any(each.response == kind and each.query for each in READS)


def test_every_list_is_empty_somewhere_and_full_somewhere(found: Found) -> None:
    for kind in SENT:
        for field in TYPES[kind].fields:
            lists = [item[field.name] for item in found[kind] if isinstance(item.get(field.name), list)]
            if field.is_list:
                assert [] in lists, (kind, field.name)
                assert any(lists), (kind, field.name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, each.name) for kind in SENT for each in TYPES[kind].fields if each.of in ENUMERATIONS],
)
def test_an_enumeration_of_unknown_values_has_texts_and_integers(found: Found, kind: str, name: str) -> None:
    assert {str, int} <= {type(item.get(name)) for item in found[kind]}


STRUCTS = {
    name: each
    for name, each in inspect.getmembers(request_bodies, inspect.isclass)
    if issubclass(each, msgspec.Struct) and each is not msgspec.Struct
}


def kind_of(annotation: Any) -> str:
    """Return the kind of a struct's field, as the contract writes it."""
    if get_origin(annotation) in {Union, UnionType}:
        kinds = {kind_of(each) for each in get_args(annotation) if each is not type(None)}
        return "open" if kinds == {"str", "int"} else kinds.pop()
    if get_origin(annotation) is list:
        return f"[{kind_of(get_args(annotation)[0])}]"
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0]).__name__
    return str(annotation.__name__)


def kind_in_contract(field: Field) -> str:
    return "open" if field.of in ENUMERATIONS else field.kind


@pytest.mark.parametrize("name", STRUCTS)
def test_the_sandbox_takes_the_bodies_of_the_contract_and_no_others(name: str) -> None:
    fields = {each.encode_name: kind_of(each.type) for each in msgspec.structs.fields(STRUCTS[name])}
    assert fields == {each.name: kind_in_contract(each) for each in TYPES[name].fields}


def test_every_request_body_of_the_contract_is_taken_by_the_sandbox() -> None:
    wanted: set[str] = set()
    new = {each.request for each in WRITES}
    while new:
        wanted |= new
        new = {field.of for kind in new for field in TYPES[kind].fields if field.of in TYPES} - wanted
    assert wanted == set(STRUCTS)


FULL: dict[str, dict[str, Any]] = {
    "update_thread": {"status": 2},
    "message": {"thread_id": "th-1", "content": "Hello", "to": "customer1@letters.example"},
    "chat_token": {"external_id": "cu-1"},
    "token": {"grant_type": "password", "username": USERNAME, "password": PASSWORD},
}


@pytest.mark.parametrize("route", WRITES, ids=lambda each: each.name)
def test_a_write_is_answered_as_the_contract_says(data: Seed, route: Write) -> None:
    with (
        BackgroundServer(sandbox_config(Sandbox(data).app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url, auth=(USERNAME, PASSWORD)) as client,
    ):
        answer = client.post(route.template.replace("{id}", "th-1"), json=FULL[route.name])
        assert answer.status_code == route.status
        if route.response is None:
            assert answer.content == b""
        else:
            assert list(misfits(TYPES[route.response], answer.json())) == []
        refused = client.post(route.template.replace("{id}", "th-1"), json={**FULL[route.name], "invented": 1})
        assert refused.status_code == 422
        for kind, item in objects("Errors", refused.json()):
            assert list(misfits(TYPES[kind], item)) == []
