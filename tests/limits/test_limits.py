"""Every limit is exact: an operation below it or at it is executed, one above it is refused with the limit's code."""

import json
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from graphql import get_introspection_query

from gateway.execution.documents.limits import ENTITIES_MULTIPLE, REPRESENTATIONS_MULTIPLE
from gateway.sandbox import Sandbox
from tests.harness import FIELDS, Gateway, StartGateway, settings
from tests.limits.bombs import nested

BOUND = 5
_PAD = "{ __typename } # "


def thread(selection: str) -> str:
    return f'{{ thread(id: "th-1") {{ {selection} }} }}'


def deep(count: int) -> str:
    """Return an operation with fields on so many levels: one, or two, four, six … and then a leaf."""
    below = "{ __typename }"
    return (
        '{ customer(externalId: "e") '
        + "{ profile { customer " * ((count - 2) // 2)
        + (below if count % 2 == 0 else "{ profile { __typename } }")
        + "} } " * ((count - 2) // 2)
        + "}"
    )


def repeated(text: Callable[[int], str]) -> Callable[[int], str]:
    return lambda count: " ".join(text(index) for index in range(count))


CASES: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "depth": ("max_depth", "MAX_DEPTH_LIMIT", deep),
    "depth, in fragments": (
        "max_depth",
        "MAX_DEPTH_LIMIT",
        lambda n: (
            "{ customer(externalId: 1) { ...A } } fragment A on Customer { profile { ...B } }"
            " fragment B on CustomerProfile { customer { "
            + ("id" if n == 4 else "nameVariations { lastName }" if n == 5 else "profile { customer { id } }")
            + " } }"
        ),
    ),
    "fields": ("max_fields", "MAX_FIELDS_LIMIT", lambda n: thread("id " * (n - 1))),
    "fields, in a fragment": (
        "max_fields",
        "MAX_FIELDS_LIMIT",
        lambda n: thread("...F") + "fragment F on Thread { " + "id " * (n - 2) + "}",
    ),
    "fields, in a fragment that is spread twice": (
        "max_fields",
        "MAX_FIELDS_LIMIT",
        lambda n: thread("...F ...F" + " id" * (n - 5)) + "fragment F on Thread { id }",
    ),
    "fields, in inline fragments": (
        "max_fields",
        "MAX_FIELDS_LIMIT",
        lambda n: thread("... { id } " + "id " * (n - 3)),
    ),
    "fields, in two operations": (
        "max_fields",
        "MAX_FIELDS_LIMIT",
        lambda n: "query A { __typename } query B { " + "__typename " * (n - 1) + "}",
    ),
    "aliases": ("max_aliases", "MAX_ALIASES_LIMIT", lambda n: thread(repeated(lambda i: f"a{i}: id")(n))),
    "aliases, in a fragment that is spread twice": (
        "max_aliases",
        "MAX_ALIASES_LIMIT",
        lambda n: (
            thread("...F ...F " + repeated(lambda i: f"b{i}: id")(n - 4)) + " fragment F on Thread { a: id c: id }"
        ),
    ),
    "root fields": ("max_root_fields", "MAX_ROOT_FIELDS_LIMIT", lambda n: "{" + "__typename " * n + "}"),
    "root fields, in fragments": (
        "max_root_fields",
        "MAX_ROOT_FIELDS_LIMIT",
        lambda n: "{ ... { __typename } ...F } fragment F on Query { " + "__typename " * (n - 1) + "}",
    ),
    "directives": (
        "max_directives",
        "MAX_DIRECTIVES_LIMIT",
        lambda n: thread(repeated(lambda i: f"a{i}: id @skip(if: false)")(n)),
    ),
    "directives, on fragments and spreads": (
        "max_directives",
        "MAX_DIRECTIVES_LIMIT",
        lambda n: (
            thread("...F @skip(if: false) ... @include(if: true) { id }")
            + "fragment F on Thread { "
            + repeated(lambda i: f"a{i}: id @skip(if: false)")(n - 2)
            + " }"
        ),
    ),
    "operations": ("max_operations", "MAX_OPERATIONS_LIMIT", repeated(lambda i: f"query Q{i} {{ __typename }}")),
    "a list in the document": (
        "max_list",
        "MAX_LIST_LIMIT",
        lambda n: f"{{ threads(ids: [{repeated(str)(n)}]) {{ id }} }}",
    ),
    "a list in an object in a list": (
        "max_list",
        "MAX_LIST_LIMIT",
        lambda n: "{ _entities(representations: [{a: [" + "1 " * n + "]}]) { __typename } }",
    ),
    "a list that is a variable's default": (
        "max_list",
        "MAX_LIST_LIMIT",
        lambda n: f"query Q0($ids: [ID!]! = [{'1 ' * n}]) {{ threads(ids: $ids) {{ id }} }}",
    ),
}


def refusal(gateway: Gateway, document: str, variables: dict[str, Any] | None = None) -> str | None:
    """Return the code with which an operation is refused, None if it is executed."""
    name = "Q0" if "query Q0" in document else "A" if "query A" in document else None
    request = {"query": document, "operationName": name, "variables": variables}
    answer = gateway.http.post("/graphql", json=request).json()
    if "data" in answer:
        return None
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.slow  # the largest documents
@pytest.mark.parametrize(("setting", "code", "document"), CASES.values(), ids=CASES)
def test_a_document_is_executed_up_to_its_limit(
    start: StartGateway, sandbox: Sandbox, setting: str, code: str, document: Callable[[int], str]
) -> None:
    gateway = start(**{setting: BOUND})
    assert refusal(gateway, document(BOUND - 1)) is None
    assert refusal(gateway, document(BOUND)) is None
    calls = sandbox.count()
    for _ in range(2):
        assert refusal(gateway, document(BOUND + 1)) == code
    assert sandbox.count() == calls
    assert refusal(start(**{setting: BOUND + 1}), document(BOUND + 1)) is None


@pytest.mark.parametrize(("length", "code"), [(1023, None), (1024, None), (1025, "MAX_DOCUMENT_LIMIT")])
def test_the_limit_of_characters_is_exact(start: StartGateway, length: int, code: str | None) -> None:
    """It counts characters, not bytes."""
    assert refusal(start(max_document=1024), _PAD + "é" * (length - len(_PAD))) == code


@pytest.mark.parametrize(("tokens", "code"), [(99, None), (100, None), (101, "MAX_TOKENS_LIMIT")])
def test_the_limit_of_tokens_is_exact(start: StartGateway, tokens: int, code: str | None) -> None:
    assert refusal(start(max_tokens=100), "{ thread(id: 1) {" + " id" * (tokens - 10) + "} }") == code


@pytest.mark.parametrize(("comments", "code"), [(97, None), (98, "MAX_TOKENS_LIMIT")])
def test_comments_are_tokens(start: StartGateway, comments: int, code: str | None) -> None:
    assert refusal(start(max_tokens=100), "{ __typename }" + "#\n" * comments) == code


def test_overlapping_fields_are_compared_up_to_a_limit(start: StartGateway) -> None:
    """graphql-core counts half a comparison of two fields. Each of n fields is compared with every other."""
    gateway = start(max_comparisons=100)
    assert refusal(gateway, thread("id " * 10)) is None
    assert refusal(gateway, thread("id " * 11)) == "MAX_COMPARISONS_LIMIT"
    assert refusal(start(max_comparisons=111), thread("id " * 11)) is None


IDS = "query ($a: [ID!]!) { threads(ids: $a) { id } }"
ENTITIES = "query ($a: [_Any!]!) { _entities(representations: $a) { __typename } }"


@pytest.mark.parametrize(
    ("document", "values", "bound"),
    [
        (IDS, lambda n: ["th-1"] * n, BOUND),
        (ENTITIES, lambda n: [{"__typename": "Thread", "id": "th-1"}] * n, BOUND * REPRESENTATIONS_MULTIPLE),
        (
            ENTITIES,
            lambda n: [{"__typename": "Thread", "id": i // 2} for i in range(2 * n)],
            BOUND * ENTITIES_MULTIPLE,
        ),
    ],
    ids=["ids", "representations", "entities, each twice"],
)
def test_a_list_in_a_variable_is_accepted_up_to_its_limit(
    start: StartGateway, document: str, values: Callable[[int], list[Any]], bound: int
) -> None:
    gateway = start(max_list=BOUND)
    for count, code in ((bound - 1, None), (bound, None), (bound + 1, "MAX_LIST_LIMIT")):
        assert refusal(gateway, document, {"a": values(count)}) == code
    assert refusal(gateway, document, {"a": values(1), "other": [1] * 100}) is None, "an undeclared variable is ignored"


def test_a_list_that_is_too_long_has_the_path_of_its_field(start: StartGateway) -> None:
    """A router sees then which of its requests fails."""
    for field, values in ((IDS, [1] * 6), (ENTITIES, [{}] * 51)):
        answer = start(max_list=BOUND).query(field.replace("{ ", "{ aliased: ", 1), a=values)
        assert answer["errors"][0]["path"] == ["aliased"]


@pytest.mark.parametrize(("digits", "status"), [(150, 200), (151, 400), (4_000, 400)])
def test_the_digits_of_a_number_in_a_body_are_limited(gateway: Gateway, digits: int, status: int) -> None:
    body = b'{"query": "{ __typename } #%b", "variables": {"a": %b}}' % (b"1" * 1_000, b"1" * digits)
    response = gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert ("150 digits" in response.text) == (status == 400)


def test_a_page_is_accepted_up_to_its_limit(start: StartGateway) -> None:
    gateway = start(max_page_size=BOUND)
    for first, codes in ((BOUND - 1, []), (BOUND, []), (BOUND + 1, ["MAX_PAGE_LIMIT"])):
        answer = gateway.query(thread(f"id messages(first: {first}) {{ totalCount }}"))
        assert answer["data"]["thread"]["id"] == "th-1", "the rest of the response is kept"
        assert [each["extensions"]["code"] for each in answer.get("errors", ())] == codes


@pytest.mark.parametrize(("size", "status", "code"), [(2, 200, None), (3, 200, None), (4, 400, "MAX_BATCH_LIMIT")])
def test_a_batch_is_accepted_up_to_its_limit(start: StartGateway, size: int, status: int, code: str | None) -> None:
    response = start(max_batch=3).http.post("/graphql", json=[{"query": "{ __typename }"}] * size)
    assert response.status_code == status
    if code is not None:
        assert [each["errors"][0]["extensions"]["code"] for each in response.json()] == [code] * size


@pytest.mark.parametrize(("lists", "status"), [(50_000, 200), (50_001, 413)])
def test_the_number_of_objects_and_lists_in_a_body_is_limited(gateway: Gateway, lists: int, status: int) -> None:
    """The request, its variables, the list and the braces of the document are four of them."""
    request = {"query": "{ __typename }", "variables": {"x": [[] for _ in range(lists - 4)]}}
    response = gateway.http.post("/graphql", json=request)
    assert response.status_code == status
    errors = response.json().get("errors", [])
    message = "The request's body holds more than 50000 JSON objects and lists."
    assert [error["message"] for error in errors] == [message] * (status == 413)


@pytest.mark.parametrize(("length", "status"), [(32 * 1024, 200), (32 * 1024 + 1, 414)])
def test_the_limit_of_a_query_string_is_exact(gateway: Gateway, length: int, status: int) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    start = "query=%7B__typename%7D&x="
    with closing(HTTPConnection(host, int(port), timeout=30)) as connection:
        connection.request("GET", f"/graphql?{start}{'x' * (length - len(start))}")
        response = connection.getresponse()
        assert response.status == status
        assert (b"MAX_URL_LIMIT" in response.read()) == (status == 414)


def test_many_parameters_in_a_query_string_are_refused(gateway: Gateway) -> None:
    assert gateway.http.get("/graphql?query=%7B__typename%7D" + "&a=1" * 99).status_code == 200
    assert gateway.http.get("/graphql?query=%7B__typename%7D" + "&a=1" * 100).status_code == 400


def test_variables_that_are_nested_too_deeply_are_refused(gateway: Gateway) -> None:
    body = json.dumps({"query": "{ __typename }", "variables": {"x": nested(900)}})
    for text, status in ((body, 200), (body.replace("[]", "[" * 20_000 + "]" * 20_000), 400)):
        response = gateway.http.post("/graphql", content=text, headers={"content-type": "application/json"})
        assert response.status_code == status


@pytest.mark.parametrize(("length", "status"), [(256, 400), (257, 400)])
def test_the_length_of_an_operations_name_is_limited(gateway: Gateway, length: int, status: int) -> None:
    response = gateway.http.post("/graphql", json={"query": "{ __typename }", "operationName": "x" * length})
    assert response.status_code == status
    assert ("256 characters" in response.text) == (length > 256), "the log has the name as well"


def test_a_fragment_that_spreads_itself_is_refused(gateway: Gateway) -> None:
    document = thread("...A") + "fragment A on Thread { ...B ...B } fragment B on Thread { id ...A ...A }"
    assert "Cannot spread fragment" in gateway.query(document)["errors"][0]["message"]


def test_fragments_that_double_are_refused_whatever_their_number(gateway: Gateway) -> None:
    links = " ".join(f"fragment F{i} on Thread {{ ...F{i + 1} ...F{i + 1} }}" for i in range(80))
    document = thread("...F0") + links + " fragment F80 on Thread { id }"
    assert gateway.query(document)["errors"][0]["message"].startswith("The document has very many fields")


def test_the_introspection_of_tools_is_within_the_limits(gateway: Gateway) -> None:
    options = {"input_value_deprecation": True, "specified_by_url": True, "directive_is_repeatable": True}
    assert refusal(gateway, get_introspection_query(**options)) is None


def test_introspection_may_have_another_name_once(gateway: Gateway) -> None:
    """Hot Chocolate 13 asks for it as `schema`."""
    found = gateway.data("{ schema: __schema { queryType { name } } }")
    assert found == {"schema": {"queryType": {"name": "Query"}}}


@pytest.mark.parametrize(
    "document",
    [
        "{ a: __schema { queryType { name } } b: __schema { queryType { name } } }",
        "{ a: __schema { queryType { name } } ...F } fragment F on Query { b: __schema { queryType { name } } }",
        "{ __schema { a: queryType { name } } }",
        "{ __schema { queryType { ...F } } } fragment F on __Type { a: name }",
        '{ __type(name: "Thread") { a: name } }',
    ],
)
def test_introspection_has_no_further_aliases(gateway: Gateway, document: str) -> None:
    assert refusal(gateway, document) == "MAX_ALIASES_LIMIT"


def test_several_types_may_be_queried(gateway: Gateway) -> None:
    names = gateway.data('{ a: __type(name: "Thread") { name } b: __type(name: "Message") { name } }')
    assert names == {"a": {"name": "Thread"}, "b": {"name": "Message"}}


def test_each_limit_is_a_setting() -> None:
    assert {setting for setting, _, _ in CASES.values()} <= set(FIELDS)
    assert settings().limits.depth == 20
