"""A response is compared with the contract: every difference is found at its place, and no value is shown."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.upstream.contract import CREATE_MESSAGE, CUSTOMER, MESSAGES, READS, ROUTES, THREAD, Route
from gateway.upstream.contract.events import CUSTOMERS_UPDATED
from gateway.upstream.drift.comparison import (
    STATUSES,
    Absences,
    Comparison,
    Drift,
    DriftKind,
    Known,
    harmless,
    known_values,
    webhook_drift,
)
from gateway.upstream.drift.strict import StrictDecoders
from tests.drift.bodies import objects, sample, with_one_difference
from tests.selection import PROPERTY_CASES

WITH_A_BODY = [each for each in ROUTES.values() if each.response is not None]
each_route = pytest.mark.parametrize("route", WITH_A_BODY, ids=lambda each: each.name)
quick = settings(
    max_examples=max(1, PROPERTY_CASES // 4),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just("a value of somebody"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "messages", "total", "errors", "code", "customers", "status"])
            | st.just("a key of somebody"),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def compared(
    route: Route, body: Any, status: int | None = None, query: str = "", known: Known | None = None
) -> list[Drift]:
    """Return what is different in a body, JSON or bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    comparison = Comparison(sample(route, content, status, query), known)
    assert comparison.advance()
    assert_decoders_agree(comparison, known)
    return comparison.drifts


def assert_decoders_agree(comparison: Comparison, known: Known | None) -> None:
    """The decoders accept what has no difference, and a failure never: it is always compared."""
    sample = comparison.sample
    is_success = sample.status == sample.route.status
    assert StrictDecoders(known or {}).accept(sample) == (is_success and not comparison.drifts)


def kinds(found: list[Drift]) -> list[tuple[DriftKind, str, str]]:
    return [(each.kind, each.path, each.came) for each in found]


@each_route
@quick
@given(data=st.data())
def test_what_the_contract_allows_is_no_difference(route: Route, data: st.DataObject) -> None:
    assert route.response is not None
    assert compared(route, data.draw(objects(route.response))) == []


@each_route
@quick
@given(data=st.data())
def test_one_difference_anywhere_is_found_at_its_place_and_no_other(route: Route, data: st.DataObject) -> None:
    body, difference = data.draw(with_one_difference(route))
    assert compared(route, body) == [difference]


@quick
@given(
    route=st.sampled_from(list(ROUTES.values())),
    body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50),
    status=st.sampled_from([200, 204, 302, 404, 418, 422, 503]),
    query=st.sampled_from(["", "?offset=0&limit=2", "?offset=99999999999999999999&limit=1"]),
)
def test_any_body_is_compared_to_its_end_and_nothing_of_it_is_shown(
    route: Route, body: bytes, status: int, query: str
) -> None:
    known = known_values({"ThreadStatus": [1]})
    comparison = Comparison(sample(route, body, status, query), known)
    assert comparison.advance()
    assert_decoders_agree(comparison, known)
    shown = [*map(repr, comparison.drifts), *comparison.undocumented, *comparison.undocumented.values()]
    assert [each for each in shown if "a key of somebody" in each] == []
    of_enumerations = {DriftKind.NEW_ENUM_VALUE}
    assert [each for each in comparison.drifts if each.value is not None and each.kind not in of_enumerations] == []
    assert "somebody" not in repr([each._replace(value=None) for each in comparison.drifts])


def test_a_value_of_an_open_enumeration_is_new_only_where_values_are_known() -> None:
    body = {"id": "1", "status": "archived", "last_message": {"id": "2", "origin": 4}}
    assert compared(THREAD, body) == []
    (found,) = compared(THREAD, body, known=known_values({"ThreadStatus": ["open", 2]}))
    assert (found.kind, found.path, found.value) == (DriftKind.NEW_ENUM_VALUE, "status", "archived")


@pytest.mark.parametrize("value", ["ceo@firm.example", "x" * 33, "", "Åse", "a\nb", 10**18])
def test_a_value_that_may_be_somebodys_is_not_shown(value: str | int) -> None:
    assert harmless(value) is None
    known = known_values({"ThreadStatus": ["open"]})
    (found,) = compared(THREAD, {"id": "1", "status": value}, known=known)
    assert (found.kind, found.value) == (DriftKind.NEW_ENUM_VALUE, None)


@pytest.mark.parametrize(
    ("value", "came"), [(2**31, "int64"), (-(2**31) - 1, "int64"), (1.0, "float"), ("1", "str"), (True, "bool")]
)
def test_an_integer_that_graphql_cannot_carry_is_of_the_wrong_type(value: Any, came: str) -> None:
    found = compared(THREAD, {"id": "1", "message_count": value})
    assert kinds(found) == [(DriftKind.WRONG_TYPE, "message_count", came)]
    sizes = [{"id": "2", "file_size": 2**40}]
    assert compared(THREAD, {"id": "1", "attachments": sizes}) == []


def test_a_null_in_a_list_is_of_the_wrong_type() -> None:
    found = compared(THREAD, {"id": "1", "customers": [None], "tags": ["a", None]})
    assert kinds(found) == [(DriftKind.WRONG_TYPE, "customers[]", "null"), (DriftKind.WRONG_TYPE, "tags[]", "null")]


@pytest.mark.parametrize("route", READS, ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("body", "came"), [(b"<html>502</html>", "html"), (b"", "nothing"), (b"busy", "text"), (b'{"id": "\xff"}', "text")]
)
def test_what_is_no_json_is_found_whatever_the_status(route: Route, body: bytes, came: str) -> None:
    for status in (200, 503):
        assert kinds(compared(route, body, status)) == [(DriftKind.NOT_JSON, "$", came)]


def test_a_status_that_nobody_expects_is_found() -> None:
    error = {"errors": [{"code": "x"}]}
    assert [compared(THREAD, error, status) for status in sorted(STATUSES)] == [[]] * len(STATUSES)
    assert kinds(compared(THREAD, error, 418)) == [(DriftKind.UNKNOWN_STATUS, "$", "418")]
    assert kinds(compared(THREAD, b"", 204)) == [(DriftKind.UNKNOWN_STATUS, "$", "204")]
    assert kinds(compared(THREAD, b"", 302)) == [(DriftKind.UNKNOWN_STATUS, "$", "302")]
    assert compared(CREATE_MESSAGE, b"", 204) == []


@pytest.mark.parametrize(
    ("route", "status", "body", "difference"),
    [
        (THREAD, 204, b"", ("UNKNOWN_STATUS", "$", "200 or the status of a known failure", "204")),
        (THREAD, 200, b"busy", ("NOT_JSON", "$", "JSON", "text")),
        (THREAD, 200, ["no"], ("WRONG_TYPE", "$", "object", "list")),
        (THREAD, 200, {}, ("MISSING_ID", "id", "str", "absent")),
        (THREAD, 200, {"id": None}, ("MISSING_ID", "id", "str", "null")),
        (THREAD, 200, {"id": ""}, ("MISSING_ID", "id", "str", "empty")),
        (THREAD, 200, {"id": "1", "status": "new"}, ("NEW_ENUM_VALUE", "status", "ThreadStatus", "str")),
        (MESSAGES, 200, {"messages": []}, ("PAGINATION", "total", "int", "absent")),
        (MESSAGES, 200, {"messages": [], "total": None}, ("PAGINATION", "total", "int", "null")),
        (CUSTOMER, 422, ["no"], ("ERROR_SHAPE", "$", "object", "list")),
        (CUSTOMER, 422, {"errors": []}, ("ERROR_SHAPE", "errors", "[Error]", "empty")),
        (CUSTOMER, 422, {"errors": [{}]}, ("ERROR_SHAPE", "errors[].code", "str", "absent")),
        (CUSTOMER, 400, {}, ("ERROR_SHAPE", "errors", "[Error]", "absent")),
    ],
)
def test_a_difference_says_what_was_expected_and_what_came(
    route: Route, status: int, body: Any, difference: tuple[str, ...]
) -> None:
    (found,) = compared(route, body, status, known=known_values({"ThreadStatus": ["open"]}))
    assert (found.kind.name, found.path, found.expected, found.came) == difference
    assert found.status == status


@pytest.mark.parametrize(
    ("body", "path", "came"),
    [
        ({"error": "no"}, "errors", "absent"),
        ({"errors": None}, "errors", "null"),
        ({"errors": []}, "errors", "empty"),
        ({"errors": {"code": "x"}}, "errors", "object"),
        ({"errors": [{"message": "no"}]}, "errors[].code", "absent"),
        ({"errors": [{"code": 17}]}, "errors[].code", "int"),
        ({"errors": ["no"]}, "errors[]", "str"),
        ({"errors": [{"code": "x", "hint": "y"}]}, "errors[].hint", "str"),
        (["no"], "$", "list"),
    ],
)
def test_an_error_of_another_shape_is_found(body: Any, path: str, came: str) -> None:
    assert (DriftKind.ERROR_SHAPE, path, came) in kinds(compared(CUSTOMER, body, 422))
    assert {each.kind for each in compared(CUSTOMER, body, 422)} == {DriftKind.ERROR_SHAPE}


@pytest.mark.parametrize(
    ("count", "total", "query", "path", "came"),
    [
        (3, 3, "?offset=0&limit=2", "messages", "more"),
        (1, 9, "?offset=0&limit=2", "messages", "fewer"),
        (2, 1, "", "total", "less"),
        (2, 3, "?offset=2&limit=2", "total", "less"),
        (2, None, "?offset=0&limit=2", "total", "null"),
    ],
)
def test_a_page_that_does_not_fit_is_found(count: int, total: int | None, query: str, path: str, came: str) -> None:
    page = {"messages": [{"id": str(each)} for each in range(count)], "total": total}
    (found,) = compared(MESSAGES, page, query=query)
    assert (found.kind, found.path, found.came) == (DriftKind.PAGINATION, path, came)
    assert (
        found.expected
        == {
            "more": "at most as many as the limit",
            "fewer": "as many as the limit, or all that are left",
            "less": "at least the offset and the items",
            "null": "int",
        }[came]
    )


@pytest.mark.parametrize(
    ("code", "shown", "expected"),
    [
        ("customers_updated", "customers_updated", " or ".join(f"data.{each}" for each in CUSTOMERS_UPDATED.ids.paths)),
        ("somebody@firm.example", "*", "a known event"),
        (None, "*", "a known event"),
    ],
)
def test_an_event_says_where_its_ids_were_expected(code: str | None, shown: str, expected: str) -> None:
    drift = webhook_drift(code, ["data.b", "data.a"])
    assert (drift.kind, drift.path, drift.expected, drift.came) == (
        DriftKind.WEBHOOK_SHAPE,
        shown,
        expected,
        "data.a, data.b",
    )


@pytest.mark.parametrize("query", ["?offset=0&limit=5", "?offset=0&limit=2", "?offset=7&limit=2", ""])
def test_a_page_that_fits_is_none(query: str) -> None:
    total = 7 if query == "?offset=7&limit=2" else 2
    count = 0 if total == 7 else 2
    page = {"messages": [{"id": str(each)} for each in range(count)], "total": total}
    assert compared(MESSAGES, page, query=query) == []


def test_an_id_that_a_page_has_twice_is_found() -> None:
    found = compared(MESSAGES, {"messages": [{"id": "1"}, {"id": "1"}], "total": 2})
    assert kinds(found) == [(DriftKind.PAGINATION, "messages[].id", "repeated")]
    assert found[0].expected == "each id once"


def test_an_object_with_more_fields_than_are_known_may_have_them() -> None:
    body = json.dumps({"customer": {"id": "1"}, "segments": [], "a b": 1}).encode()
    comparison = Comparison(sample(CUSTOMER, body))
    comparison.advance()
    assert (comparison.drifts, comparison.undocumented) == ([], {"segments": "list", "*": "int"})


def test_a_field_that_no_response_has_is_found_once_and_after_enough_of_them() -> None:
    absences = Absences(3)
    rounds = []
    for tags in ({}, {"tags": None}, {}, {}, {}):
        body = json.dumps({"id": "1", "customers": [{"id": "2"}], **tags}).encode()
        comparison = Comparison(sample(THREAD, body))
        comparison.advance()
        rounds.append(absences.add(comparison))
    assert [bool(each) for each in rounds] == [False, False, True, False, False]
    found = {each.path: each.expected for each in rounds[2]}
    assert {(each.kind, each.status) for each in rounds[2]} == {(DriftKind.MISSING_FIELD, 200)}
    assert "tags" not in found
    assert (found["status"], found["attachments"]) == ("ThreadStatus", "[Attachment]")
    assert found["customers[].phone"] == "str"
    assert [path for path in found if path.startswith("last_message.") or path.endswith("id")] == [
        "client_id",
        "customers[].client_id",
        "customers[].external_id",
    ]


def test_a_large_body_is_compared_in_steps_and_can_be_left() -> None:
    body = {"messages": [{"id": str(each), "colour": 1} for each in range(50)], "total": 50}
    comparison = Comparison(sample(MESSAGES, json.dumps(body).encode()))
    steps = 1
    while not comparison.advance(lambda: True):
        steps += 1
    assert steps == 51
    assert kinds(comparison.drifts) == [(DriftKind.UNKNOWN_FIELD, "messages[].colour", "int")]


def test_a_body_full_of_differences_has_a_limited_number_of_them() -> None:
    assert len(compared(THREAD, {f"field_{each}": 1 for each in range(5000)})) == 100
