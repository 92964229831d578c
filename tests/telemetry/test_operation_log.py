"""The log has one line per operation: its name, caller and cost, and no secrets."""

import hashlib
import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.sandbox import PASSWORD, Fault, Sandbox
from gateway.telemetry import JsonFormatter, log_fields
from gateway.telemetry.logs import LineHandler
from tests.harness import Gateway, StartGateway
from tests.programs import until

THREAD = 'query Inbox { thread(id: "th-1") { id } }'
ROUTE = "/api/v1/thread/{id}"


class Written(logging.Handler):
    """Keeps the lines that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, message: str) -> list[dict[str, Any]]:
        return [each for each in self.lines if each["message"] == message]


@pytest.fixture
def written() -> Iterator[Written]:
    handler = Written()
    logger = logging.getLogger("gateway")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def test_an_operation_is_one_line(gateway: Gateway, written: Written) -> None:
    response = gateway.http.post("/graphql", json={"query": THREAD}, headers={"x-request-id": "mine"})
    assert response.status_code == 200
    (line,) = written.of("operation")
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "gateway",
        "message": "operation",
        "requestId": "mine",
        "operation": "Inbox",
        "type": "query",
        "document": digest(THREAD),
        "caller": "everyone",
        "executor": "plan",
        "upstream": [{"route": ROUTE, "source": "fetched", "outcome": "200", "calls": 1}],
        "errors": [],
    }


def test_rest_calls_are_counted_by_outcome(gateway: Gateway, sandbox: Sandbox, written: Written) -> None:
    sandbox.faults.add(Fault("thread", match="th-3", status=500))
    gateway.query('{ threads(ids: ["th-1", "th-2", "th-3"]) { id } }')
    (line,) = written.of("operation")
    counted = {(each["route"], each["source"], each["outcome"]): each["calls"] for each in line["upstream"]}
    assert counted == {(ROUTE, "fetched", "200"): 2, (ROUTE, "fetched", "500"): 1}
    assert line["errors"] == ["UPSTREAM_ERROR"]
    assert (line["executor"], line["reason"]) == ("reference", "UPSTREAM_ERROR")


def test_operations_share_nothing_in_which_they_differ(start: StartGateway, sandbox: Sandbox, written: Written) -> None:
    """What many operations have in common is encoded once."""
    gateway = start(cache_url="memory://", cache_ttl_thread="60", slow_operation=5.0)
    one, other = 'query A { thread(id: "th-1") { id } }', 'query B { thread(id: "th-1") { id } }'
    two = 'query C { threads(ids: ["th-1", "th-2"]) { id } }'
    sandbox.faults.add(Fault("thread", match="th-3", status=500))
    for _ in range(2):
        for document in (one, other, two, THREAD.replace("th-1", "th-3"), "{ __typename }", "{ nothing }", "{"):
            gateway.query(document)
    lines = written.of("operation")
    assert [each["operation"] for each in lines] == 2 * ["A", "B", "C", "Inbox", None, None, None]
    assert [each["document"] for each in lines[:3]] == [digest(each) for each in (one, other, two)]
    calls = [[(each["source"], each["outcome"], each["calls"]) for each in line["upstream"]] for line in lines]
    cached = ("cached", "200", 1)
    assert calls[:3] == [[("fetched", "200", 1)], [cached], [cached, ("fetched", "200", 1)]]
    assert calls[7:10] == [[cached], [cached], [("cached", "200", 2)]]
    assert [each["errors"] for each in lines[3:7]] == [each["errors"] for each in lines[10:]]
    assert [each["type"] for each in lines[4:7]] == ["query", "unknown", "unknown"]
    assert [each["executor"] for each in lines[2:7]] == ["plan", "reference", "plan", "none", "none"]


def test_a_long_name_is_cut(gateway: Gateway, written: Written) -> None:
    name = "N" * 150
    gateway.query(f"query {name} {{ __typename }}")
    assert [each["operation"] for each in written.of("operation")] == [name[:100]]


@pytest.mark.parametrize(
    ("document", "code"), [("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "GRAPHQL_VALIDATION_FAILED")]
)
def test_an_operation_that_cannot_start_is_logged_with_its_document(
    gateway: Gateway, written: Written, document: str, code: str
) -> None:
    gateway.query(document)
    (line,) = written.of("operation")
    assert (line["executor"], line["type"], line["errors"]) == ("none", "unknown", [code])
    assert line["document"] == digest(document)


def test_a_persisted_document_has_the_same_id(gateway: Gateway, written: Written) -> None:
    """Whether it is sent with the hash, found, or unknown."""
    sha256 = hashlib.sha256(THREAD.encode()).hexdigest()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": sha256}}
    for body in ({}, {"query": THREAD}, {}):
        gateway.http.post("/graphql", json={**body, "extensions": extensions})
    lines = written.of("operation")
    assert [each["document"] for each in lines] == [sha256[:16]] * 3
    assert [each["errors"] for each in lines] == [["PERSISTED_QUERY_NOT_FOUND"], [], []]


def test_an_operation_whose_client_hangs_up_is_logged(gateway: Gateway, sandbox: Sandbox, written: Written) -> None:
    sandbox.faults.add(Fault("thread", hold="for ever"))
    body = json.dumps({"query": THREAD})
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
        client.sendall((head + body).encode())
        sandbox.wait_for_calls(1, "thread")
    until(lambda: written.of("operation") != [], "the operation is over")
    assert [each["errors"] for each in written.of("operation")] == [["CLIENT_DISCONNECTED"]]


def test_each_operation_of_a_batch_is_logged(start: StartGateway, written: Written) -> None:
    start(max_batch=3).http.post("/graphql", json=[{"query": f"query Q{n} {{ __typename }}"} for n in range(3)])
    assert sorted(each["operation"] for each in written.of("operation")) == ["Q0", "Q1", "Q2"]


def test_a_refused_http_request_is_a_line_without_an_operation(gateway: Gateway, written: Written) -> None:
    gateway.http.put("/graphql", headers={"x-request-id": "mine"})
    (line,) = written.of("refused")
    assert (line["requestId"], line["status"], line["errors"]) == ("mine", 405, ["BAD_USER_INPUT"])
    assert written.of("operation") == []


def test_a_slow_operation_is_logged_at_warning_with_its_calls(start: StartGateway, written: Written) -> None:
    start(slow_operation=1e-6).data(THREAD)
    (line,) = written.of("slow operation")
    assert line["level"] == "warning"
    (call,) = line["explain"]
    assert (call["route"], call["status"], call["attempts"], call["source"]) == (ROUTE, 200, 1, "fetched")


def test_an_operation_is_slow_from_the_threshold_on(start: StartGateway, sandbox: Sandbox, written: Written) -> None:
    """The REST API holds the call for as long as the threshold."""
    gateway = start(slow_operation=0.5)
    gateway.data('{ customer(externalId: "c0000") { id } }')  # logs in
    sandbox.clear()
    written.lines.clear()
    sandbox.faults.add(Fault("thread", hold="a while"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.data, THREAD)
        sandbox.wait_for_calls(1, "thread")
        arrived = time.perf_counter()
        until(lambda: time.perf_counter() > arrived + 0.5, "the call is held for a while")
        sandbox.release("a while")
        asked.result()
    (line,) = written.of("slow operation")
    assert 500 <= line["ms"] < 60_000


def test_no_operation_is_slow_when_the_threshold_is_off(start: StartGateway, written: Written) -> None:
    start(slow_operation=0).data(THREAD)
    assert [each["level"] for each in written.lines if "operation" in each["message"]] == ["info"]


def test_callers_are_identified_without_their_credentials(start: StartGateway, written: Written) -> None:
    gateway = start(upstream_identity="passthrough")
    for token in ("one-token", "another-token", "one-token"):
        gateway.http.post("/graphql", json={"query": THREAD}, headers={"authorization": f"Bearer {token}"})
    first, second, third = (each["caller"] for each in written.of("operation"))
    assert first == third != second
    assert "token" not in first + second


def test_a_name_is_truncated_and_no_other_client_input_is_logged(gateway: Gateway, written: Written) -> None:
    name = "N" * 5000
    secret = "th-1-for-nobody-else"
    document = f'query {name}($id: ID!) {{ thread(id: $id) {{ id }} customer(externalId: "{secret}") {{ id }} }}'
    gateway.query(document, id=secret)
    gateway.http.post("/graphql", json={"query": "{", "operationName": "N" * 120})
    assert [each["operation"] for each in written.of("operation")] == ["N" * 100] * 2
    text = json.dumps(written.lines)
    assert secret not in text
    assert PASSWORD not in text


def test_values_without_a_json_form_do_not_lose_the_line() -> None:
    record = logging.LogRecord("gateway", logging.INFO, __file__, 1, "odd", None, None)
    record.fields = {"half": "\ud800", "object": pytest}
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "odd"
    assert line["half"] == "\ud800"


def test_a_level_that_is_raised_while_lines_wait_holds_at_once(
    gateway: Gateway,
) -> None:
    """Operations after that are not written, neither by the handler that has lines nor by another."""
    logger = logging.getLogger("gateway")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    stream = io.StringIO()
    handler = LineHandler(JsonFormatter())
    handler.setStream(stream)
    try:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
        gateway.query("query A { __typename }")
        logger.setLevel(logging.WARNING)
        log_fields(logging.INFO, "write without client", {})
        gateway.query("query B { __typename }")
        handler.flush()
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    assert '"operation":"A"' in stream.getvalue()
    assert '"operation":"B"' not in stream.getvalue()
    assert "write without client" not in stream.getvalue()
