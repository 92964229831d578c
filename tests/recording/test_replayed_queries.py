"""Queries of all kinds are answered from a recording as they were answered from the REST API."""

from collections import Counter
from itertools import chain

import pytest

from tests.recording.corpus import Query, generated, shown
from tests.recording.equality import Answer, Equality
from tests.recording.ids import ids_of, with_ids
from tests.recording.notes import Note
from tests.recording.replaying import FAULTS, compare
from tests.recording.selection import Sent, distinct_queries, sent_by

OF_FAULTS = [
    Query(document, {"id": fault.match})
    for fault in FAULTS
    for document in (
        "query ($id: ID!) { thread(id: $id) { status messageCount messages(first: 3) { nodes { id priority } } } }",
        "query ($id: ID!) { customer(externalId: $id) { lastName kycLevel profile { customFields { name } } } }",
    )
]


@pytest.mark.slow  # it asks some hundreds of times
def test_queries_of_all_kinds_are_answered_from_a_recording_as_before() -> None:
    """`uv run python -m tests.recording --suite tests` does this with everything that the tests send."""
    sent = sent_by(["tests/test_thread.py", "tests/web/test_batching.py"])
    assert sent.files == {"tests/test_thread.py", "tests/web/test_batching.py"}
    assert len(distinct_queries(sent.queries)) > 10
    report = compare([*OF_FAULTS, *distinct_queries(chain(shown(), generated(30), sent.queries))])
    assert report.differences == []
    assert report.queries > 70
    assert report.with_errors > 10
    assert report.exchanges > 40


PAYLOAD = (
    '{"query": "query A { thread(id: 1) { id } } query B { __typename }", "operationName": "A", "variables": null}'
)
SENT = {
    "[]": [],
    PAYLOAD: [None],
    f"[{PAYLOAD}, {PAYLOAD}, 7]": [None, None, "JSON without a document"],
    '{"type": "connection_init"}': [],
    f'{{"type": "subscribe", "id": "1", "payload": {PAYLOAD}}}': [None],
    '{"query": "query ($a: ID!) { thread(id: $a) { id } }", "variables": "{\\"a\\": 1}"}': [None],
    '{"query": "mutation { createChatToken(input: {}) { token } }"}': ["mutation"],
    '{"query": "subscription { threadUpdated(id: 1) { id } }"}': ["subscription"],
    '{"query": "{"}': ["document with a syntax error"],
    PAYLOAD.replace('"A"', '"C"'): ["document without the operation, or with several"],
    PAYLOAD.replace('"A"', "null"): ["document without the operation, or with several"],
    PAYLOAD.replace("null", "[]"): ["JSON with members of other types"],
    '{"extensions": {"persistedQuery": {}}}': ["hash or id of a document"],
    '{"documentId": "x"}': ["hash or id of a document"],
    "--x\r\n": ["form"],
    "{": ["body that is no JSON"],
    None: ["body of more than a million characters"],
}


@pytest.mark.parametrize(("text", "reasons"), SENT.items(), ids=[str(each)[:30] for each in SENT])
def test_what_is_not_recorded_is_counted_with_its_reason(text: str | None, reasons: list[str | None]) -> None:
    sent = Sent.of([Note("tests/a/test_b.py::test_c[d] (call)", text)])
    assert len(sent.queries) == reasons.count(None)
    assert sent.left_out == Counter(each for each in reasons if each)
    assert sent.tests == ({"tests/a/test_b.py::test_c[d]"} if reasons else set())
    assert sent.files == ({"tests/a/test_b.py"} if reasons else set())


def test_ids_are_renamed_wherever_a_caller_names_them() -> None:
    query = Query(
        'query ($i: ID! = "e", $r: [_Any!]!, $k: String! = "a") { thread(id: $i) { id } threads(ids: ["a", 7]) { id } '
        'customer(externalId: "c") { id } _entities(representations: $r) { __typename } '
        'other: messageOutcome(threadId: "a", idempotencyKey: $k) { outcome } }',
        {"i": "b", "r": [{"__typename": "Thread", "id": "d"}, {"id": 2**80}, 1], "k": "a"},
    )
    assert ids_of(query) == {"a", "b", "c", "d", "e", "7"}
    renamed = with_ids(query, str.upper)
    assert ids_of(renamed) == {"A", "B", "C", "D", "E", "7"}
    assert renamed.variables == {"i": "B", "r": [{"__typename": "Thread", "id": "D"}, {"id": 2**80}, 1], "k": "a"}
    assert '["A", 7]' in renamed.document


THREAD = Query('{ thread(id: "th-1") { id: id status customers { id } messages { totalCount } } }', {})


def answer(**changes: object) -> Answer:
    thread = {"id": "th-1", "status": "Open", "customers": [{"id": "c"}], "messages": {"totalCount": 1}, **changes}
    return Answer(200, {"data": {"thread": thread}})


UNEQUAL = {
    "another structure": answer(customers=[]),
    "null": answer(status=None),
    "another type": answer(status=3),
    "another id than the one that was learned": answer(id="xx-1"),
    "an id that became two": answer(customers=[{"id": "xx-9"}]),
    "another status": Answer(500, answer().body),
    "an error": Answer(200, {**answer().body, "errors": [{"message": "x", "path": [], "extensions": {"code": "X"}}]}),
}


@pytest.mark.parametrize("replayed", UNEQUAL.values(), ids=UNEQUAL)
def test_a_difference_is_found(replayed: Answer) -> None:
    equality = Equality({"th-1": "qq-7"})
    same = answer(id="qq-7", status="Shut", customers=[{"id": "d"}])
    assert list(equality.differences(THREAD, answer(), same)) == []
    wrong = replayed if replayed.body["data"]["thread"]["id"] == "xx-1" else _with_id(replayed)
    assert list(equality.differences(THREAD, answer(), wrong))


def _with_id(answer: Answer) -> Answer:
    data = {"thread": {**answer.body["data"]["thread"], "id": "qq-7"}}
    return Answer(answer.status, {**answer.body, "data": data})
