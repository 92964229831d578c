"""Which ids are read of a webhook's body: those of every plausible shape, and never a part of them only."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.contract import EVENTS
from gateway.web.webhook.body import MOST_IDS, Reading, read_event, shape_of

WITHOUT_EXTERNAL_ID = {"customer_id": "c", "external_id": None}


def read(data: Any, **fields: Any) -> Reading:
    return read_event(json.dumps({"event_code": "thread_updated", "data": data, **fields}).encode(), 1.0)


def at(path: str, value: Any) -> Any:
    """Return an object with a value at a path of the contract, such as ``threads[].id``."""
    name, _, rest = path.partition(".")
    inner = at(rest, value) if rest else value
    return {name.removesuffix("[]"): [inner] if name.endswith("[]") else inner}


def test_what_happened_may_be_beside_its_code() -> None:
    sent = {"event_code": "thread_updated", "event_date": "2026-11-28", "event_source": "web", "thread_id": "th-1"}
    event = read_event(json.dumps(sent).encode(), 1.0).event
    assert (event.threads, event.everything) == (("th-1",), False)
    assert (event.code, event.date, event.source) == ("thread_updated", "2026-11-28", "web")


@pytest.mark.parametrize(("code", "path"), [(code, path) for code, each in EVENTS.items() for path in each.ids.paths])
@pytest.mark.parametrize("ident", ["th-1", 29, "ünï/code?"])
def test_ids_are_found_at_each_path_of_the_contract(code: str, path: str, ident: str | int) -> None:
    event = read(at(path, ident), event_code=code).event
    found = event.threads if EVENTS[code].ids.subject == "thread" else event.customers
    assert found == (str(ident),)
    assert not event.everything


@pytest.mark.parametrize(
    ("data", "threads"),
    [
        ([{"thread_id": "a"}, {"thread": {"id": "b"}}], ("a", "b")),
        ({"threads": ["a", "b", "a"]}, ("a", "b")),
        ({"client_id": 1, "threads": [{"thread_id": "a", "id": "x"}], "messages": [{"id": "m"}]}, ("a",)),
        ({"message": {"id": "m", "thread": {"id": "a"}}}, ("a",)),
        ({"message": {"id": "m", "thread": {"thread_id": "a", "id": "x"}}}, ("a",)),
        ({"thread_id": "a", "messages": ["m"]}, ("a",)),
        ({"thread_id": "a", "customers": [WITHOUT_EXTERNAL_ID]}, ("a",)),
        ({"thread_id": "a", "messages": [{"message_id": "m", "thread_id": "b"}]}, ("a", "b")),
    ],
)
def test_other_plausible_shapes_are_read(data: Any, threads: tuple[str, ...]) -> None:
    reading = read(data)
    assert reading.event.threads == threads
    assert reading.unknown is None


@pytest.mark.parametrize(
    "data",
    [
        *(None, {}, [], "th-1", 1, {"id": "th-1"}, {"threads": []}, {"threads": [{"thread_id": "a"}, {"uid": "b"}]}),
        *({"thread_id": None}, {"thread_id": True}, {"thread_id": 1.5}, {"thread_id": 2**70}, {"thread_id": ""}),
        *({"thread_id": "x" * 300}, {"messages": [{"id": "m"}]}, {"customers": [{"name": "c"}]}, {"customers": ["c"]}),
        {"thread_ids": [str(number) for number in range(MOST_IDS + 1)]},
        {"thread_ids": [str(number) for number in range(MOST_IDS + 1)], "customers": [WITHOUT_EXTERNAL_ID]},
        {"customers": [*({"external_id": f"e-{number}"} for number in range(MOST_IDS + 1)), WITHOUT_EXTERNAL_ID]},
        *({"thread_ids": ["a"] * 1001}, [{"thread_id": "a"}] * 1001, {"thread_id": "a", "messages": ["m"] * 1000}),
        *({"messages": ["m"]}, {"threads": [{"uid": "b"}, "a"], "messages": ["m"]}),
        *([{"thread_id": "a"}, "b"], {"thread_id": "a", "customers": [{"name": "c"}]}),
        {"messages": ["m"], "customers": [{"external_id": "c"}]},
    ],
)
def test_where_an_id_is_missing_everything_counts_as_changed(data: Any) -> None:
    reading = read(data)
    assert reading.event.everything
    assert reading.event.subjects == ()
    assert reading.unknown is not None


@pytest.mark.parametrize("body", [b"", b"{", b"no JSON", b"\xff", b'["th-1"]', b"[" * 10_000])
def test_after_a_body_that_is_no_json_object_everything_counts_as_changed(body: bytes) -> None:
    reading = read_event(body, 1.0)
    assert (reading.event.everything, reading.unknown) == (True, ("not a JSON object",))


def test_one_id_may_be_there_many_times() -> None:
    assert read({"thread_ids": ["a"] * 999}).event.threads == ("a",)


@pytest.mark.parametrize("missing", [{}, {"external_id": None}, {"external_id": ""}])
def test_a_customer_without_an_external_id_is_of_no_concern(missing: dict[str, Any]) -> None:
    reading = read({"client_id": 1, "customers": [{"customer_id": "c", **missing}]})
    assert not reading.event.everything
    assert reading.event.subjects == ()
    assert reading.unknown is None


@pytest.mark.parametrize("wrong", [{}, [], {"id": "e"}, 1.5, True])
def test_an_external_id_of_another_type_is_not_understood(wrong: Any) -> None:
    assert read({"customers": [{"customer_id": "c", "external_id": wrong}]}).unknown is not None


def test_an_event_is_named_by_its_code_id_and_date() -> None:
    known = {"event_id": 29, "event_date": "2023-07-03T11:59:46Z"}
    assert read({"thread_id": "a"}, **known).identity == ("thread_updated", "29", "2023-07-03T11:59:46Z")
    for missing in (*known, "event_code"):
        assert read({"thread_id": "a"}, **{**known, missing: None}).identity is None


@pytest.mark.parametrize("code", ["x" * 101, "", "a\nb", 1.5, True, ["thread_updated"]])
def test_a_code_that_is_no_short_printable_text_is_not_kept(code: Any) -> None:
    """It would be in log lines."""
    assert read({"thread_id": "a"}, event_code=code).event.code is None
    assert read({"thread_id": "a"}, event_code="x" * 100).event.code == "x" * 100


def test_the_shape_of_a_body_has_names_and_no_values() -> None:
    body = {"data": [{"id": "secret", "secret key": {"name": 1}}, {"other": None}]}
    assert shape_of(body) == ("data", "data[].*", "data[].*.name", "data[].id", "data[].other")
    assert shape_of({"data": {"threads": [{"messages": [{"id": 1}]}]}})[-1] == "data.threads[].messages[].id"


def test_the_shape_of_a_body_is_bounded() -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    assert shape_of(deep) == tuple(".".join("a" * depth) for depth in range(1, 7))
    assert len(shape_of({f"key_{number}": 1 for number in range(1000)})) == 60
    nested: Any = 1
    for _ in range(100):
        nested = [nested] * 2
    assert shape_of({"a": nested}) == ("a",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["thread_id", "thread", "threads", "messages", "message", "customers", "external_id", "id"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_read_without_failure(data: Any) -> None:
    event = read(data).event
    assert event.everything or event.subjects or read(data).unknown is None
    assert len(event.subjects) <= MOST_IDS


@given(st.binary(max_size=100))
def test_any_bytes_are_read_without_failure(body: bytes) -> None:
    assert read_event(body, 1.0).event.taken_at == 1.0


@given(json_values)
def test_a_shape_has_a_limited_size_and_no_values(data: Any) -> None:
    shape = shape_of({"data": data, "secret value": "secret value"})
    assert len(shape) <= 60
    assert all("secret" not in path for path in shape)
