"""Nothing keeps the bodies of an operation after its end: those that wait for a garbage collection would add up."""

import gc
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.harness import StartGateway
from tests.limits.hostile import Answer, HostileServer, listed

_LONG = 100_000
_TEXT = b'{"id": "x", "last_message": {"id": "1", "content": "%b"}}'
_LIST = b'{"id": "x", "customers": %b}'
_THREAD = _TEXT % (b"x" * _LONG)
_IDS = listed(b'{"id": "1"}', _LONG)
_INVALID = "UPSTREAM_INVALID_RESPONSE"
_TOO_LARGE = "MAX_RESPONSE_LIMIT"

ANSWERS = {
    "a thread": (Answer(_THREAD), None),
    "an error of the caller": (Answer(_THREAD, status=400), "BAD_USER_INPUT"),
    "an error of the REST API": (Answer(_THREAD, status=500), "UPSTREAM_ERROR"),
    "not found": (Answer(_THREAD, status=404), None),
    "no JSON": (Answer(_THREAD[:-1]), _INVALID),
    "no object": (Answer(_IDS), _INVALID),
    "no text": (Answer(b'{"id": "x", "last_message": {"id": "1", "content": %b}}' % _IDS), _INVALID),
    "no list": (Answer(_LIST % b'"%b"' % (b"x" * _LONG)), _INVALID),
    "a list without ids": (Answer(_LIST % listed(b"{}", _LONG // 2)), _INVALID),
    "too many fields": (Answer(_LIST % _IDS), _TOO_LARGE),
    "too many errors": (Answer(_LIST % listed(b'{"id":"1","first_name":[]}', _LONG)), _TOO_LARGE),
    "too many values": (Answer(_LIST % listed(b"1", 6 * _LONG)), _INVALID),
    "too many bytes": (Answer(_TEXT % (b"x" * 4 * _LONG)), _TOO_LARGE),
    "a body above the limit": (Answer(b" " * 8 * _LONG + b"{}"), _INVALID),
}
"""What the REST API answers, and the code of the error that the client gets."""

QUERY = "query ($a: ID!) { thread(id: $a) { id customers { id firstName } lastMessage { id content } } }"

Text: TypeAlias = bytes | bytearray | str


@contextmanager
def uncollected() -> Iterator[list[Any]]:
    """Return a list, which has at the end what only a garbage collection would have freed."""
    garbage: list[Any] = []
    gc.disable()
    gc.freeze()  # what was there before is not looked at
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


def texts(garbage: list[Any]) -> Iterator[Text]:
    """Return the texts that garbage refers to, also those in structs that the collector does not know."""
    for each in gc.get_referents(*garbage):
        for held in msgspec.structs.astuple(each) if isinstance(each, msgspec.Struct) else (each,):
            if isinstance(held, Text):
                yield held


def answer(client: HTTPConnection) -> dict[str, Any]:
    client.request(
        "POST",
        "/graphql",
        json.dumps({"query": QUERY, "variables": {"a": "x"}}),
        {"content-type": "application/json"},
    )
    response: dict[str, Any] = json.loads(client.getresponse().read())
    return response


@pytest.mark.parametrize("plans", [True, False])
def test_no_body_waits_for_a_garbage_collection(start: StartGateway, plans: bool) -> None:
    login = {"upstream_auth": "basic", "upstream_username": "user", "upstream_password": "password"}
    limits = {"upstream_max_body": 7 * _LONG, "max_response": 3 * _LONG, "max_response_fields": 10_000}
    waiting = {}
    with HostileServer() as rest_api:
        url = start(upstream_url=rest_api.url, plans=plans, upstream_retries=0, **login, **limits).url
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as client:
            for kind, (rest_answer, code) in ANSWERS.items():
                rest_api.answers["x"] = rest_answer.content
                with uncollected() as garbage:
                    answer(client)
                    errors = answer(client).get("errors", [])  # the first operation has certainly ended
                assert {error["extensions"]["code"] for error in errors} == ({code} if code else set()), kind
                waiting[kind] = [len(text) for text in texts(garbage) if len(text) >= _LONG // 2]
    assert not {kind: found for kind, found in waiting.items() if found}
