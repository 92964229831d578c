"""A strategy for responses of the REST API: valid bodies with a few invalid values, or no bodies at all."""

import copy
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from hypothesis import strategies as st

from gateway.http1 import ConnectFailed, ReadTimedOut
from gateway.upstream.contract import READS, Read
from tests.execution import upstream_bodies
from tests.execution.comparison import Reply
from tests.harness import rest_response

World = Callable[[str], Reply]

ABSENT = object()
VALUES: list[Any] = [
    ABSENT, None, "", "12", "é👋\u2028\x00", 0, -1, 2**31, -(2**31) - 1, 2**63, 10**40, 1.0, 1.5, -0.0, 1e300,
    True, False, [], {}, [None], ["x", None], [1], [[]], [{}], {"id": None}, {"x": "é"}, "x" * 5000,
]  # fmt: skip
_TEXTS: dict[str, bytes] = {
    "<a huge float>": b"1e999",
    "<an integer as a float>": b"1E2",
    "<spaces>": b'{ "a" : [ 1 , 2 ] }',
}
"""JSON that msgspec does not write, by the text that stands for it in a body."""
VALUES += _TEXTS
_FAILURES: list[Callable[[], Reply]] = [
    lambda: rest_response(404),
    lambda: rest_response(500, json={"errors": [{"code": "boom", "message": "m"}]}),
    lambda: rest_response(401),
    lambda: rest_response(429, retry_after="3"),
    lambda: rest_response(204),
    lambda: rest_response(200, b""),
    lambda: rest_response(200, b"<html>"),
    lambda: rest_response(200, b"[]"),
    lambda: rest_response(200, b"null"),
    lambda: rest_response(200, b"{}"),
    lambda: rest_response(200, b'{"id": "1", "x": "\xff"}'),
    lambda: rest_response(200, b'{"id": "1", "x": "\\ud800"}'),
    lambda: rest_response(200, b'{"id": "1", "id": "2", "total": 1, "messages": [], "customer": {}}'),
    lambda: rest_response(200, b'{"id": "1", "tags": ["a"'),
    lambda: ConnectFailed("refused"),
    lambda: ReadTimedOut("late"),
]
_KINDS = [each.name for each in READS]
_PATHS = [(re.compile(re.sub(r"\{\w+\}", "([^/]+)", each.template)), each) for each in READS]


def _read(path: str) -> tuple[Read, str]:
    """Return the route of a path, and the id in it."""
    for pattern, route in _PATHS:
        if found := pattern.fullmatch(path):
            return route, unquote(found[1])
    raise LookupError(f"no route of the contract has the path {path}")


def _valid(route: Read, name: str, query: dict[str, str]) -> Any:
    match route.name:
        case "thread":
            return upstream_bodies.thread(name)
        case "messages":
            return upstream_bodies.page(int(query["offset"]), int(query["limit"]))
        case "customer":
            return upstream_bodies.profile(name.removeprefix("e-"))
    return upstream_bodies.example(route.response or "")


def well_formed(target: str) -> Reply:
    """Return the response of a path, which is a 404 for what is missing."""
    path, _, query = target.partition("?")
    route, name = _read(path)
    return rest_response(404) if "missing" in path else rest_response(json=_valid(route, name, dict(parse_qsl(query))))


def _change(body: Any, steps: list[int], value: Any) -> None:
    """Walk down ``body``, one choice for each step, and put ``value`` at the end of the walk."""
    for index, step in enumerate(steps):
        keys = sorted(body) if isinstance(body, dict) else list(range(len(body)))
        key = keys[step % len(keys)]
        inner = body[key]
        if index < len(steps) - 1 and isinstance(inner, (dict, list)) and inner:
            body = inner
        elif value is ABSENT:
            del body[key]
            return
        else:
            body[key] = copy.deepcopy(value)  # the next change may be inside it
            return


@st.composite
def worlds(draw: Callable[[st.SearchStrategy[Any]], Any]) -> World:
    """The response of each path, the same in every call."""
    step = st.integers(0, 30)
    change = st.tuples(st.sampled_from(_KINDS), st.lists(step, min_size=1, max_size=6), st.sampled_from(VALUES))
    is_ordinary = draw(st.booleans())
    changes = [] if is_ordinary else draw(st.lists(change, max_size=4))
    broken = st.dictionaries(st.sampled_from(_KINDS), st.sampled_from(_FAILURES), min_size=1, max_size=1)
    wrong = draw(broken) if not is_ordinary and draw(st.integers(0, 3)) == 3 else {}
    only_first = draw(st.booleans())
    message_count = draw(st.sampled_from([4, upstream_bodies.TOTAL, None]))

    def answer(target: str) -> Reply:
        path, _, query = target.partition("?")
        route, name = _read(path)
        kind = route.name
        is_spared = only_first and not path.rstrip("/").endswith("1")
        if "missing" in path:
            return rest_response(404)
        if kind in wrong and not is_spared:
            reply: Reply = wrong[kind]()
            return reply
        body = copy.deepcopy(_valid(route, name, dict(parse_qsl(query))))
        if kind == "thread":
            body["message_count"] = message_count
        for changed, steps, value in changes:
            if changed == kind and not is_spared and body:
                _change(body, steps, value)
        content = msgspec.json.encode(body)
        for name, text in _TEXTS.items():
            content = content.replace(b'"%b"' % name.encode(), text)
        return rest_response(200, content)

    return answer
