"""Requests that are designed to be expensive, as large as the limits allow and larger."""

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]


def _times(count: int, text: str) -> str:
    return text * count


def _each(count: int, text: Callable[[int], str]) -> str:
    return " ".join(map(text, range(count)))


def _thread(selection: str) -> str:
    return f"{{ thread(id: 1) {{ {selection} }} }}"


def _chain(count: int, below: str, *, cyclic: bool = False) -> str:
    """Return fragments each of which spreads the next."""
    last = "...F0" if cyclic else "id"
    links = _each(count, lambda index: f"fragment F{index} on Thread {{ {below.replace('$', f'...F{index + 1}')} }}")
    return f"{links} fragment F{count} on Thread {{ {last} }}"


_NODE = "lastMessage { id attachments { id attachmentMovements { total } } }"

DOCUMENTS: dict[str, Callable[[int], str]] = {
    "aliases of one field": lambda n: "{" + _each(n, lambda index: f"a{index}: __typename") + "}",
    "aliases of a call": lambda n: "{" + _each(n, lambda index: f"a{index}: thread(id: {index}) {{ id }}") + "}",
    "aliases of objects": lambda n: _thread(_each(n, lambda index: f"a{index}: {_NODE}")),
    "aliases of edges": lambda n: _thread(_each(n, lambda index: f"a{index}: messages(first: 1) {{ totalCount }}")),
    "aliases in each other": lambda n: _thread(
        _each(n, lambda index: f"a{index}: customers {{ b{index}: profile {{ c{index}: customer {{ id }} }} }}")
    ),
    "one leaf many times": lambda n: _thread(_times(n, "id ")),
    "one root field many times": lambda n: "{" + _times(n, "thread(id: 1) { id } ") + "}",
    "one object many times": lambda n: _thread(_times(n, f"{_NODE} ")),
    "conflicting leaves": lambda n: _thread(_each(n, lambda index: f"a: {('id', 'tags')[index % 2]}")),
    "conflicting arguments": lambda n: "{" + _each(n, lambda index: f"thread(id: {index}) {{ id }}") + "}",
    "one spread many times": lambda n: f"{_thread(_times(n, '...F '))} fragment F on Thread {{ id }}",
    "many fragments with one field": lambda n: (
        _thread(_each(n, lambda index: f"...F{index}"))
        + _each(n, lambda index: f"fragment F{index} on Thread {{ id tags }}")
    ),
    "many fragments with one object": lambda n: (
        _thread(_each(n, lambda index: f"...F{index}"))
        + _each(n, lambda index: f"fragment F{index} on Thread {{ {_NODE} }}")
    ),
    "fragments in a row": lambda n: _thread("...F0") + _chain(n, "$"),
    "fragments in a row, doubling": lambda n: _thread("...F0") + _chain(n, "$ $"),
    "fragments in a row, doubling with fields": lambda n: _thread("...F0") + _chain(n, "id $ tags $"),
    "fragments in a circle": lambda n: _thread("...F0") + _chain(n, "$", cyclic=True),
    "fragments in a circle, doubling": lambda n: _thread("...F0") + _chain(n, "$ $", cyclic=True),
    "fragments nobody spreads": lambda n: "{ __typename }" + _chain(n, "id"),
    "fragments unknown": lambda n: _thread(_each(n, lambda index: f"...F{index}")),
    "inline fragments side by side": lambda n: _thread(_times(n, "... { id } ")),
    "inline fragments in each other": lambda n: _thread(_times(n, "... { ") + "id" + _times(n, " }")),
    "inline fragments with objects": lambda n: _thread(_times(n, f"... on Thread {{ {_NODE} }} ")),
    "fields in each other": lambda n: (
        '{ customer(externalId: "1") {' + _times(n, "profile { customer {") + "id" + _times(n, "}}") + "}}"
    ),
    "fields unknown": lambda n: "{" + _each(n, lambda index: f"thred{index}") + "}",
    "arguments unknown": lambda n: "{ thread(" + _each(n, lambda index: f"idd{index}: 1") + ") { id } }",
    "one argument many times": lambda n: "{ thread(" + _times(n, "id: 1 ") + ") { id } }",
    "types unknown": lambda n: "query (" + _each(n, lambda index: f"$a{index}: Thred") + ") { __typename }",
    "directives": lambda n: _thread("id " + _times(n, "@skip(if: false) ")),
    "directives on many fields": lambda n: _thread(_each(n, lambda index: f"a{index}: id @include(if: true)")),
    "directives unknown": lambda n: _thread("id " + _times(n, "@a ")),
    "operations": lambda n: _each(n, lambda index: f"query Q{index} {{ __typename }}"),
    "operations without a name": lambda n: _times(n, "{ __typename } "),
    "operations that spread all fragments": lambda n: (
        _each(n, lambda index: f"query Q{index} {{ thread(id: 1) {{ ...F0 }} }}") + _chain(n, "$")
    ),
    "variables": lambda n: "query (" + _each(n, lambda index: f"$a{index}: ID") + ") { __typename }",
    "variables that are used": lambda n: (
        f"query ({_each(n, lambda index: f'$a{index}: ID!')})"
        f" {{ threads(ids: [{_each(n, lambda index: f'$a{index}')}]) {{ id }} }}"
    ),
    "a variable that operations use": lambda n: (
        _each(20, lambda index: f"query Q{index}($a: ID!) {{ thread(id: 1) {{ ...F }} }}")
        + f"fragment F on Thread {{ messages(after: [{_times(n, '$a ')}]) {{ totalCount }} }}"
    ),
    "a list": lambda n: "{ threads(ids: [" + _times(n, "1 ") + "]) { id } }",
    "a list of wrong items": lambda n: "{ threads(ids: [" + _times(n, "1.5 ") + "]) { id } }",
    "a list of objects": lambda n: (
        "{ _entities(representations: [" + _times(n, '{__typename: "Thread"} ') + "]) { __typename } }"
    ),
    "lists in each other": lambda n: "{ threads(ids: " + _times(n, "[") + _times(n, "]") + ") { id } }",
    "objects in each other": lambda n: (
        "{ _entities(representations: [" + _times(n, "{a: ") + "1" + _times(n, "}") + "]) { __typename } }"
    ),
    "an object with many fields": lambda n: (
        "{ _entities(representations: [{" + _each(n, lambda index: f"a{index}: 1") + "}]) { __typename } }"
    ),
    "braces": lambda n: _times(n, "{"),
    "brackets in a type": lambda n: "query ($a: " + _times(n, "[") + "ID" + _times(n, "]") + ") { __typename }",
    "a comment": lambda n: "{ __typename } #" + _times(n, "x"),
    "comments": lambda n: "{ __typename } " + _times(n, "#\n"),
    "commas": lambda n: "{ __typename " + _times(n, ",") + "}",
    "line breaks": lambda n: "{ __typename " + _times(n, "\r\n") + "}",
    "a string": lambda n: '{ thread(id: "' + _times(n, "x") + '") { id } }',
    "a string of escapes": lambda n: '{ thread(id: "' + _times(n, "\\u{1F600}") + '") { id } }',
    "a string without an end": lambda n: '{ thread(id: "' + _times(n, "x"),
    "a block string": lambda n: '{ thread(id: """' + _times(n, "x\n ") + '""") { id } }',
    "a name": lambda n: "{ " + _times(n, "x") + " }",
    "a number": lambda n: "{ thread(id: " + _times(n, "1") + ") { id } }",
    "a float": lambda n: "{ thread(id: 1." + _times(n, "1") + ") { id } }",
    "null bytes": lambda n: "{ __typename " + _times(n, "\0") + "}",
    "the whole schema": lambda n: (
        "{ __schema { types { name kind fields { name args { name type { name } } type { name kind } "
        + _times(n, "description ")
        + "} } } }"
    ),
    "the whole schema many times": lambda n: (
        "{" + _each(n, lambda index: f"a{index}: __schema {{ types {{ fields {{ args {{ name }} }} }} }}") + "}"
    ),
    "all types many times": lambda n: (
        "{ __schema {" + _each(n, lambda index: f"a{index}: types {{ fields {{ args {{ name }} }} }}") + "} }"
    ),
    "a type many times": lambda n: (
        "{"
        + _each(
            n,
            lambda index: f'a{index}: __type(name: "Customer") {{ fields {{ name args {{ name }} type {{ name }} }} }}',
        )
        + "}"
    ),
    "types in each other": lambda n: (
        "{ __schema { types {" + _times(n, "fields { type {") + "name" + _times(n, "}}") + "} } }"
    ),
    "the printed schema many times": lambda n: "{" + _each(n, lambda index: f"a{index}: _service {{ sdl }}") + "}",
}
"""Documents that repeat one element, by the element: each takes the number of repetitions."""

_ID = "query ($a: ID!) { thread(id: $a) { id } }"
_IDS = "query ($a: [ID!]!) { threads(ids: $a) { id } }"
_ENTITIES = "query ($a: [_Any!]!) { _entities(representations: $a) { __typename } }"

VARIABLES: dict[str, Callable[[int], Body]] = {
    "a long id": lambda n: {"query": _ID, "variables": {"a": "x" * n}},
    "a long number": lambda n: {"query": _ID, "variables": {"a": int("1" * min(n, 4000))}},
    "an object for an id": lambda n: {"query": _ID, "variables": {"a": {str(i): i for i in range(n // 16)}}},
    "a list for an id": lambda n: {"query": _ID, "variables": {"a": [0] * (n // 3)}},
    "ids": lambda n: {"query": _IDS, "variables": {"a": ["x"] * (n // 5)}},
    "wrong ids": lambda n: {"query": _IDS, "variables": {"a": [1.5] * (n // 5)}},
    "entities": lambda n: {"query": _ENTITIES, "variables": {"a": [{"__typename": "Thread"}] * (n // 26)}},
    "entities that are none": lambda n: {"query": _ENTITIES, "variables": {"a": [1] * (n // 3)}},
    "a large entity": lambda n: {"query": _ENTITIES, "variables": {"a": [{str(i): i for i in range(n // 16)}]}},
    "lists in each other": lambda n: {"query": _IDS, "variables": {"a": nested(min(n // 2, 900))}},
    "variables nobody declared": lambda n: {"query": _ID, "variables": {str(i): i for i in range(n // 16)}},
    "many small lists": lambda n: {"query": _IDS, "variables": {"a": [[[]] for _ in range(n // 6)]}},
    "an operation's name": lambda n: {"query": _ID, "operationName": "x" * n},
    "extensions": lambda n: {"query": _ID, "extensions": {"persistedQuery": {"sha256Hash": "x" * n}}},
    "a document's id": lambda n: {"documentId": "x" * n},
}
"""Requests with large variables or other parameters, by what is large: each takes the size in bytes, about."""


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value
