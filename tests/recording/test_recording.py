"""What is recorded of the REST API holds nothing that anybody wrote, and is served again."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.http1 import Response
from gateway.sandbox import PASSWORD, BackgroundServer, Fault, Replay, Sandbox, sandbox_config
from gateway.upstream.call import Call, RestRequest
from gateway.upstream.contract import CREATE_MESSAGE, ROUTES, TYPES, Field, Route
from gateway.upstream.contract import THREAD as THREAD_ROUTE
from gateway.upstream.contract.model import Recorded
from gateway.upstream.recording import Recording
from gateway.upstream.recording.inventor import Inventor
from gateway.upstream.writes.attachments import StreamedJson
from tests.harness import SERVICE, StartGateway, rest_response
from tests.harness import settings as settings_of
from tests.programs import Start, outcome
from tests.selection import PROPERTY_CASES

SECRET = b"a secret"
THREAD = """query($id: ID!) { thread(id: $id) {
  id createdAt updatedAt status tags messageCount contacts customers { id externalId firstName }
  lastMessage { id from to subject content attachments { id fileName fileSize attachmentMovements { total } } } } }"""
MESSAGES = "query($id: ID!) { thread(id: $id) { messages(first: 2) { totalCount nodes { id content } } } }"
CUSTOMER = "query($id: ID!) { customer(externalId: $id) { externalId lastName profile { customFields { name } } } }"
ASKED = [
    (THREAD, "th-1", ("thread", 200)),
    (MESSAGES, "th-1", ("messages", 200)),
    (THREAD, "no-such-thread", ("thread", 404)),
    (THREAD, "broken", ("thread", 502)),
    (CUSTOMER, "cu-1", ("customer", 200)),
]
"""An operation, an id, and the exchange that it causes: its route and status."""

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


def field_values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    """Values as the contract says, and any others."""
    of: st.SearchStrategy[Any] = st.text(max_size=80) | JSON_VALUES
    if field.of in TYPES and depth:
        of = bodies(field.of, depth - 1)
    return (st.lists(of, max_size=3) if field.is_list else of) | JSON_VALUES


@cache  # to make a strategy takes longer than to draw from it
def bodies(kind: str, depth: int = 3) -> st.SearchStrategy[Any]:
    """Bodies of a kind, with further fields."""
    known = st.fixed_dictionaries({}, optional={field.name: field_values(field, depth) for field in TYPES[kind].fields})
    return st.builds(
        lambda more, given: {**more, **given}, st.dictionaries(st.text(max_size=20), JSON_VALUES, max_size=2), known
    )


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, and the names of what the contract does not know."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        names = {field.name for each in TYPES.values() for field in each.fields}
        yield from (name for name in value if name not in names)
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


KINDS = sorted(
    {route.response for route in ROUTES.values() if route.response} | {"NewMessage", "ThreadUpdate", "Errors"}
)


@settings(max_examples=PROPERTY_CASES)
@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), bodies(kind))))
def test_no_text_of_six_characters_is_recorded(given: tuple[str, Any]) -> None:
    kind, body = given
    recorded = list(texts(Inventor(SECRET).body(body, kind)))
    for text in texts(body):
        if len(text) >= 6:
            assert not [each for each in recorded if text in each]


@settings(max_examples=PROPERTY_CASES)
@given(st.text(min_size=1, max_size=200))
def test_a_text_is_always_replaced_by_the_same_other_one(text: str) -> None:
    invented = Inventor(SECRET).text(text)
    assert invented == Inventor(SECRET).text(text)
    assert invented != text
    assert invented.isascii()
    assert len(invented) == (len(text) if len(text) <= 64 else -(-len(text) // 64) * 64)


def test_a_text_keeps_its_shape() -> None:
    inventor = Inventor(SECRET)
    address = inventor.text("jane.doe@mail.example")
    assert [address[4], address[8], address[13]] == [".", "@", "."]
    assert inventor.text("TH-1042")[2] == "-"
    assert inventor.text("TH-1042")[3:].isdigit()
    assert inventor.text("A1b2C3") != Inventor(b"another secret").text("A1b2C3")


def test_letters_stay_letters_and_digits_digits() -> None:
    text = "Ab1" * 20
    invented = Inventor(SECRET).text(text)
    assert [(each.isupper(), each.islower(), each.isdigit()) for each in invented] == [
        (each.isupper(), each.islower(), each.isdigit()) for each in text
    ]


def test_marks_at_the_ends_and_letters_that_are_no_unicode_are_replaced() -> None:
    assert Inventor(SECRET).text("-secrets-").isalpha()
    assert Inventor(SECRET).text("\ud800").isalpha()


def test_times_move_by_the_same_distance() -> None:
    body = {"created_at": "2023-07-03T11:59:46Z", "updated_at": "2023-07-04T11:59:46Z"}
    recorded = Inventor(SECRET).body(body, "Thread")
    assert recorded["created_at"][:10] < recorded["updated_at"][:10] < "2023"
    assert recorded["created_at"][10:] == "T11:59:46Z"
    assert Inventor(SECRET).body({"date_of_birth": "0001-01-01"}, "Customer")["date_of_birth"] != "0001-01-01"


def test_numbers_that_name_somebody_are_replaced_and_others_kept() -> None:
    body = {"client_id": 4711, "message_count": 45, "file_size": 1, "status": "Open", "reminder": {"delay": 300}}
    recorded = Inventor(SECRET).body(body, "Thread")
    assert recorded["client_id"] not in {4711, None}
    assert len(str(recorded["client_id"])) == 4
    assert (recorded["message_count"], recorded["status"], recorded["reminder"]) == (45, "Open", {"delay": 300})


@pytest.mark.parametrize(("status", "is_kept"), [("Fresh", True), ("Closed", False)])
def test_a_value_of_an_enumeration_is_kept_if_it_is_short(status: str, is_kept: bool) -> None:
    assert (Inventor(SECRET).body({"status": status}, "Thread")["status"] == status) is is_kept


def test_a_number_keeps_its_digits_and_its_sign() -> None:
    inventor = Inventor(SECRET)
    for number in (*range(-300, 300), 10**9, 2**63):
        invented = inventor.number(number)
        assert len(str(abs(invented))) == len(str(abs(number)))
        assert invented >= 0 if number >= 0 else invented <= 0


def test_what_the_contract_does_not_know_is_reduced_to_its_type() -> None:
    recorded = Inventor(SECRET).body({"secret_name": "Jane", "list": [1], "id": "th-1"}, "Thread")
    assert sorted(map(str, recorded.values())) == sorted(["", "[]", recorded["id"]])
    assert "secret_name" not in recorded
    assert Inventor(SECRET).body({"id": {"name": "Jane"}}, "Thread") == {"id": {}}


def test_only_numbers_are_kept() -> None:
    kept = [field for each in TYPES.values() for field in each.fields if field.recorded is Recorded.KEPT]
    assert kept
    assert {field.kind for field in kept} == {"int"}


def shape(value: Any) -> Any:
    """Return the names, types and lengths of lists of a JSON value."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items() if name != "requestId"}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


def exchanges(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(each.read_text()) for each in sorted(directory.iterdir())]


def invented_ids(directory: Path) -> dict[tuple[str, int], str]:
    """Return the id in the path of each exchange, by its route and status."""
    found = {}
    for each in exchanges(directory):
        before, _, after = ROUTES[each["route"]].template.partition("{")
        identifier = each["path"].removeprefix(before).removesuffix(after.partition("}")[2])
        found[each["route"], each["status"]] = unquote(identifier)
    return found


def test_a_recording_is_served_again(start: StartGateway, sandbox: Sandbox, servers: ExitStack, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("thread", "broken", status=502, body=b"<html>secret page"))
    directory = tmp_path / "recording"
    live = start(record=directory)
    before = [live.query(query, id=ident) for query, ident, _ in ASKED]
    content = " ".join(each.read_text() for each in directory.iterdir())
    assert not [each for each in ("no-such-thread", "secret page", PASSWORD) if each in content]
    recorded = " ".join(texts([each["body"] for each in exchanges(directory)]))
    assert not [each for each in texts([each["data"] for each in before]) if len(each) >= 6 and each in recorded]

    ids = invented_ids(directory)
    replay = servers.enter_context(BackgroundServer(sandbox_config(Replay(directory).app))).url
    replayed = start(upstream_url=replay)
    for (query, _, exchange), original in zip(ASKED, before, strict=True):
        first, second = (replayed.query(query, id=ids[exchange]) for _ in range(2))
        assert shape(first) == shape(original)
        assert first["data"] == second["data"]
    (error,) = replayed.query(THREAD, id="never-recorded")["errors"]
    assert error["path"] == ["thread"]


def test_the_newest_response_to_a_request_is_kept(start: StartGateway, sandbox: Sandbox, tmp_path: Path) -> None:
    directory = tmp_path / "recording"
    gateway = start(record=directory)
    for status in (404, 200):
        if status == 404:
            sandbox.faults.add(Fault("thread", "th-1", times=1, status=404))
        gateway.query('{ thread(id: "th-1") { id } }')
        assert [each["status"] for each in exchanges(directory)] == [status]


def test_a_write_is_recorded_without_its_contents(start: StartGateway, servers: ExitStack, tmp_path: Path) -> None:
    directory = tmp_path / "recording"
    gateway = start(record=directory, mutations=True)
    mutation = """mutation($id: ID!) { updateThread(input: {id: $id, comment: "a secret comment"}) {
      outcome thread { id messageCount } } }"""
    before = gateway.data(mutation, id="th-1")["updateThread"]
    (exchange,) = [each for each in exchanges(directory) if each["method"] == "POST"]
    assert exchange["request"].keys() == {"comment"}
    assert "secret" not in json.dumps(exchange)
    replay = servers.enter_context(BackgroundServer(sandbox_config(Replay(directory).app))).url
    ids = invented_ids(directory)
    after = start(upstream_url=replay, mutations=True).data(mutation, id=ids["update_thread", 200])["updateThread"]
    assert (after["outcome"], after["thread"]["messageCount"]) == ("APPLIED", before["thread"]["messageCount"])


def recorded(directory: Path, response: Response, route: Route = THREAD_ROUTE, body: Any = b"") -> dict[str, Any]:
    """Return what is recorded of an exchange."""
    directory.mkdir()
    request = RestRequest(route.method, route.path("th-1"), body=body, route=route, call=Call(0))
    Recording(directory).write(request, response)
    (exchange,) = exchanges(directory)
    return exchange


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0", 0), ("999999999", 999_999_999), ("1000000000", 1), ("Tue, 14 Nov 2023 22:14:20 GMT", 1), ("²", 1)],
)
def test_a_failure_is_recorded_with_its_codes_and_its_pause(tmp_path: Path, retry_after: str, seconds: int) -> None:
    body = {"errors": [{"code": "limited"}]}
    exchange = recorded(tmp_path / "new", rest_response(429, json=body, retry_after=retry_after))
    assert exchange["retry_after"] == seconds
    assert shape(exchange["body"]) == shape(body)


def test_a_body_that_is_made_while_it_is_sent_is_not_recorded(tmp_path: Path) -> None:
    exchange = recorded(tmp_path / "new", rest_response(204), CREATE_MESSAGE, StreamedJson((b"{}",)))
    assert (exchange["status"], exchange["request"]) == (204, None)


def test_the_start_warns_that_exchanges_are_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Recording(tmp_path)
    (line,) = caplog.records
    assert (line.levelname, line.message) == ("WARNING", "exchanges with the REST API are recorded")
    assert line.__dict__["fields"] == {"directory": str(tmp_path)}


def test_a_login_is_not_recorded(start: StartGateway, tmp_path: Path) -> None:
    gateway = start(record=tmp_path / "recording", upstream_auth="token")
    gateway.data('{ thread(id: "th-1") { id } }')
    assert [each["route"] for each in exchanges(tmp_path / "recording")] == ["thread"]


def test_only_a_new_directory_is_recorded_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"GATEWAY_RECORD: .* is not empty\. Name a new directory\."):
        Recording(tmp_path)
    with pytest.raises(ConfigurationError, match=r"GATEWAY_RECORD: .*/file cannot be used"):
        Recording(tmp_path / "file")
    Recording(tmp_path / "new" / "directory")
    assert (tmp_path / "new" / "directory").is_dir()


def test_one_process_records(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_RECORD needs GATEWAY_WORKERS to be 1"):
        settings_of(**SERVICE, record=tmp_path, workers=2)


EXCHANGE: dict[str, Any] = {
    "route": "thread",
    "method": "GET",
    "path": "/api/v1/thread/ab-1",
    "query": "",
    "request": None,
    "status": 200,
    "retry_after": None,
    "body": {"id": "ab-1"},
    "form": "JSON",
}
OTHER_VALUES: dict[str, list[Any]] = {
    "status": ["200", 99, 1000, None, 200.5, True],
    "method": ["BREW", 1],
    "path": ["no slash", "/ü", "/a\n", None],
    "query": ["a=ü", "a\r\nb", None],
    "retry_after": ["soon", -1, {}],
    "form": ["XML", None],
    "version": [2],
}
WRONG = [
    "", "[]", "{}", "{", "\0", "[" * 100_000, json.dumps(EXCHANGE)[:50], json.dumps(EXCHANGE)[:-1],
    json.dumps({**EXCHANGE, "body": "\ud800"}),
    json.dumps({**EXCHANGE, "body": 0}).replace('"body": 0', '"body": 1e999'),
    *(json.dumps({name: each for name, each in EXCHANGE.items() if name != left_out}) for left_out in EXCHANGE),
    *(json.dumps({**EXCHANGE, name: value}) for name, values in OTHER_VALUES.items() for value in values),
]  # fmt: skip


def test_a_file_that_is_no_exchange_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no recorded exchanges"):
        Replay(tmp_path)
    file = tmp_path / "thread-1.json"
    for content in WRONG:
        file.write_text(content)
        with pytest.raises(ValueError, match=r"thread-1\.json is no recorded exchange"):
            Replay(tmp_path)
    file.write_text(json.dumps(EXCHANGE))
    assert Replay(tmp_path).paths == ["GET /api/v1/thread/ab-1"]
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match=r"thread-1\.json cannot be read: Is a directory"):
        Replay(tmp_path)


BODIES = [
    b"", b"[]", b"0", b"null", b"<html>", b"\xff", b"[" * 100_000, b'{"id": "\\ud800"}', b'{"status": "\\ud800"}',
    b'{"message_count": 1e999}', b'{"message_count": NaN}', b'{"message_count": 123456789012345678901234567890}',
    b'{"id": "a", "id": "b"}', b'{"attachments": {"id": 1}, "tags": [[["x"]]]}',
]  # fmt: skip


def test_whatever_was_recorded_is_served(
    start: StartGateway, sandbox: Sandbox, servers: ExitStack, tmp_path: Path
) -> None:
    sandbox.faults.add(*(Fault("thread", f"odd-{number}", body=body) for number, body in enumerate(BODIES)))
    query = "query ($id: ID!) { thread(id: $id) { tags messageCount attachments { id } } }"
    live = start(record=tmp_path / "recording", upstream_retries=0)
    before = {}
    known: set[Path] = set()
    for number in range(len(BODIES)):
        answer = live.query(query, id=f"odd-{number}")
        (new,) = set((tmp_path / "recording").iterdir()) - known
        known.add(new)
        before[json.loads(new.read_text())["path"].rpartition("/")[2]] = answer
    replay = servers.enter_context(BackgroundServer(sandbox_config(Replay(tmp_path / "recording").app))).url
    replayed = start(upstream_url=replay, upstream_retries=0)
    for ident, answer in before.items():
        assert shape(replayed.query(query, id=ident)) == shape(answer)


def test_what_cannot_be_written_is_logged_and_answered(
    start: StartGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "recording"
    gateway = start(record=directory)
    for expected in ("", "Is a directory"):
        caplog.clear()
        assert gateway.data('{ thread(id: "th-1") { id } }') == {"thread": {"id": "th-1"}}
        lines = [each for each in caplog.records if "was not recorded" in each.message]
        assert [each.__dict__["fields"]["reason"] for each in lines] == [expected] * bool(expected)
        assert not [each for each in lines if each.exc_info]
        (written,) = directory.iterdir()  # nothing unfinished is left
        if not expected:
            written.unlink()
            written.mkdir()


NOT_WRITABLE = Path("/proc/tty/ldisc")


@pytest.mark.skipif(not NOT_WRITABLE.is_dir(), reason="Linux has it: an empty directory that nobody can write to")
def test_a_directory_that_cannot_be_written_to_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"GATEWAY_RECORD: /proc/tty/ldisc cannot be used"):
        Recording(NOT_WRITABLE)


def test_the_command_serves_a_recording(begin: Start, start: StartGateway, tmp_path: Path) -> None:
    start(record=tmp_path / "recording").data('{ thread(id: "th-1") { id } }')
    status, _, error = outcome(begin("sandbox", "--replay", str(tmp_path)))
    assert (status, error.startswith("gochat-gateway: --replay: ")) == (2, True)
    program = begin("sandbox", "--port", "0", "--replay", str(tmp_path / "recording"))
    program.out.until(r"GET /api/v1/thread/\w+-\d")
    program.interrupt(signal.SIGINT)
    assert program.end() == 0
