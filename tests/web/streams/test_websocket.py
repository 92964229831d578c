"""GraphQL over WebSocket: the messages and the close codes of ``graphql-transport-ws`` (graphql-ws, PROTOCOL.md)."""

import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.sandbox import Fault, Sandbox
from gateway.server.config import MAX_MESSAGE_BYTES
from tests.harness import Gateway, StartGateway
from tests.web.streams.sockets import ACK, begun, opened

THREAD = '{ thread(id: "th-1") { id } }'
RESULT = {"data": {"thread": {"id": "th-1"}}}
SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": THREAD}}


def test_a_query_has_one_result_and_is_then_complete(gateway: Gateway) -> None:
    with begun(gateway) as socket:
        assert socket.result("1", THREAD) == RESULT
        assert socket.result("1", THREAD) == RESULT, "an id can be used again once its operation is complete"


def test_operations_run_at_the_same_time(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with begun(gateway) as socket:
        socket.subscribe("slow", THREAD)
        assert socket.result("fast", '{ thread(id: "th-2") { id } }') == {"data": {"thread": {"id": "th-2"}}}
        sandbox.release("slow")
        assert socket.receive() == {"id": "slow", "type": "next", "payload": RESULT}


def test_variables_and_the_name_of_the_operation_are_used(gateway: Gateway) -> None:
    document = "query A { __typename } query B($id: ID!) { thread(id: $id) { id } }"
    with begun(gateway) as socket:
        assert socket.result("1", document, operationName="B", variables={"id": "th-1"}) == RESULT
        assert socket.result("2", "{ __typename }", operationName=None, variables=None, extensions=None) == {
            "data": {"__typename": "Query"}
        }


@pytest.mark.parametrize(
    "init",
    [
        {"type": "connection_init"},
        {"type": "connection_init", "payload": None},
        {"type": "connection_init", "payload": {}},
        {"type": "connection_init", "payload": {"anything": [1]}, "other": 1, "id": 5},
    ],
)
def test_a_connection_is_acknowledged(gateway: Gateway, init: Any) -> None:
    with opened(gateway) as socket:
        socket.send(init)
        assert socket.receive() == ACK
        assert socket.result("1", THREAD) == RESULT


@pytest.mark.slow  # it waits for seconds
def test_a_socket_whose_connection_is_not_initialised_is_closed(gateway: Gateway) -> None:
    with opened(gateway) as socket:
        assert socket.closed() == (4408, "Connection initialisation timeout")


def test_a_second_initialisation_closes(gateway: Gateway) -> None:
    with begun(gateway) as socket:
        socket.send({"type": "connection_init"})
        assert socket.closed() == (4429, "Too many initialisation requests")


def test_two_initialisations_at_once_close(gateway: Gateway) -> None:
    with opened(gateway) as socket:
        for _ in range(2):
            socket.send({"type": "connection_init"})
        with suppress(ConnectionClosed):
            assert socket.receive() == ACK  # perhaps the first one is acknowledged before the second is read
        assert socket.closed()[0] == 4429


def test_an_operation_before_the_acknowledgement_closes(gateway: Gateway) -> None:
    with opened(gateway) as socket:
        socket.send(SUBSCRIBE)
        assert socket.closed() == (4401, "Unauthorized")


@pytest.mark.parametrize("offered", [(), ("graphql-ws",), ("other", "graphql-ws")], ids=str)
def test_another_subprotocol_closes(gateway: Gateway, offered: tuple[str, ...]) -> None:
    with opened(gateway, subprotocols=offered) as socket:
        code, reason = socket.closed()
    assert (code, reason) == (4406, "Subprotocol not acceptable: graphql-transport-ws is")


def test_the_subprotocol_may_be_one_of_several(gateway: Gateway) -> None:
    with begun(gateway, subprotocols=("graphql-ws", "graphql-transport-ws")) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"


def test_an_id_that_is_in_use_closes(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with begun(gateway) as socket:
        socket.subscribe("the id", THREAD)
        socket.subscribe("the id", "{ __typename }")
        assert socket.closed() == (4409, "Subscriber for the id already exists")
    sandbox.release("slow")


def test_the_reason_of_a_close_is_cut(gateway: Gateway, sandbox: Sandbox) -> None:
    """A close frame has 123 bytes for it (RFC 6455, section 5.5), and must be UTF-8."""
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    identifier = "ä" * 200
    with begun(gateway) as socket:
        socket.subscribe(identifier, THREAD)
        socket.subscribe(identifier, THREAD)
        code, reason = socket.closed()
    assert (code, reason) == (4409, "Subscriber for " + "ä" * 54)
    sandbox.release("slow")


INVALID = [
    "",
    "{",
    "null",
    "[]",
    '"ping"',
    "1",
    "{}",
    '{"type": null}',
    '{"type": 1}',
    '{"type": "unknown"}',
    '{"type": "start", "id": "1", "payload": {"query": "{ __typename }"}}',
    '{"type": "connection_ack"}',
    '{"type": "next", "id": "1", "payload": {}}',
    '{"type": "error", "id": "1", "payload": []}',
    '{"type": "ping", "payload": []}',
    '{"type": "ping", "payload": "x"}',
    '{"type": "pong", "payload": 0}',
    '{"type": "connection_init", "payload": false}',
    '{"type": "complete"}',
    '{"type": "complete", "id": ""}',
    '{"type": "complete", "id": 1}',
    '{"type": "subscribe", "payload": {"query": "{ __typename }"}}',
    '{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}',
    '{"type": "subscribe", "id": null, "payload": {"query": "{ __typename }"}}',
    '{"type": "subscribe", "id": "1"}',
    '{"type": "subscribe", "id": "1", "payload": null}',
    '{"type": "subscribe", "id": "1", "payload": []}',
    '{"type": "subscribe", "id": "1", "payload": {}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": null}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "operationName": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": []}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": "{}"}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "extensions": 1}}',
    '{"type": "subscribe", "id": "' + "x" * 257 + '", "payload": {"query": "{ __typename }"}}',
    '{"type": "ping", "payload": {"a": ' + "[" * 30_000 + "]" * 30_000 + "}}",  # Python 3.13 reads 10,000 levels
]


def test_an_invalid_message_closes(gateway: Gateway) -> None:
    codes = {}
    for text in INVALID:
        with begun(gateway) as socket:
            socket.connection.send(text)
            codes[text], reason = socket.closed()
        assert reason.startswith("The ")
    assert {text: code for text, code in codes.items() if code != 4400} == {}


def test_a_message_may_be_binary(gateway: Gateway) -> None:
    with begun(gateway) as socket:
        socket.connection.send(json.dumps(SUBSCRIBE).encode())
        assert socket.receive()["payload"] == RESULT


def test_bytes_that_are_no_text_close(gateway: Gateway) -> None:
    with begun(gateway) as socket:
        socket.connection.send(b'{"type": "ping", "payload": {"a": "\xff"}}')
        assert socket.closed()[0] == 4400


def test_a_message_above_the_limit_closes(gateway: Gateway) -> None:
    with begun(gateway) as socket:
        largest = json.dumps({"type": "ping", "payload": {"a": ""}})
        filler = "x" * (MAX_MESSAGE_BYTES - len(largest))
        socket.send({"type": "ping", "payload": {"a": filler}})
        assert socket.receive()["type"] == "pong"
        socket.send({"type": "ping", "payload": {"a": filler + "x"}})
        assert socket.closed()[0] == 1009


@pytest.mark.parametrize(
    "payload",
    ["{}", "null", '{"a":1.00}', '{"a":123456789012345678901234567890}', '{"a":"\\u00e4","b":[ ]}'],
)
def test_a_pong_has_the_payload_of_its_ping(gateway: Gateway, payload: str) -> None:
    with opened(gateway) as socket:
        socket.connection.send(f'{{"type":"ping","payload":{payload}}}')
        assert socket.connection.recv() == f'{{"type":"pong","payload":{payload}}}'
        socket.connection.send('{"type":"ping"}')
        assert socket.connection.recv() == '{"type":"pong"}'
        socket.send({"type": "pong"})
        socket.send({"type": "pong", "payload": {"unsolicited": True}})
        socket.begin()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "BAD_USER_INPUT"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", "BAD_USER_INPUT"),
    ],
)
def test_a_bad_document_is_an_error_and_the_socket_lives(
    gateway: Gateway, sandbox: Sandbox, query: str, code: str
) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with begun(gateway) as socket:
        socket.subscribe("beside", THREAD)
        error = socket.error("bad", query)
        assert error["extensions"]["code"] == code
        assert socket.error("bad", query) == {**error, "extensions": {**error["extensions"], "requestId": ANY}}
        sandbox.release("slow")
        assert socket.receive() == {"id": "beside", "type": "next", "payload": RESULT}


class _Any:
    def __eq__(self, _other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANY = _Any()


def test_a_result_with_errors_is_a_result(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", status=500))
    with begun(gateway) as socket:
        payload = socket.result("1", THREAD)
    assert payload["data"] == {"thread": None}
    assert payload["errors"][0]["extensions"]["code"] == "UPSTREAM_ERROR"


def test_a_completed_operation_has_no_result(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with begun(gateway) as socket:
        socket.subscribe("1", THREAD)
        sandbox.wait_for_calls(1, "thread")
        socket.send({"type": "complete", "id": "1"})
        socket.send({"type": "ping"})
        assert socket.receive() == {"type": "pong"}
        sandbox.release("slow")
        assert socket.result("1", "{ __typename }") == {"data": {"__typename": "Query"}}, "the id is free again"


@pytest.mark.parametrize("identifier", ["never used", "1"])
def test_a_late_or_unknown_complete_is_ignored(gateway: Gateway, identifier: str) -> None:
    with begun(gateway) as socket:
        assert socket.result("1", THREAD) == RESULT
        for _ in range(3):
            socket.send({"type": "complete", "id": identifier})
        assert socket.result("2", THREAD) == RESULT


def test_a_socket_has_limited_operations_at_the_same_time(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    with begun(start(max_subscriptions_per_connection=2)) as socket:
        socket.subscribe("1", THREAD)
        socket.subscribe("2", THREAD)
        error = socket.error("3", THREAD)
        assert error["extensions"]["code"] == "MAX_CONNECTION_SUBSCRIPTIONS_LIMIT"
        assert error["message"] == "A connection has 2 operations at most at the same time."
        socket.send({"type": "complete", "id": "2"})
        assert socket.result("3", "{ __typename }") == {"data": {"__typename": "Query"}}
    sandbox.release("slow")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example.com", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_a_page_of_another_site_may_not_open_a_socket(
    start: StartGateway, origin: str | None, *, allowed: bool
) -> None:
    gateway = start(cors_origins="https://app.example.com", csrf="off")
    headers = None if origin is None else {"Origin": origin}
    if allowed:
        with begun(gateway, headers=headers) as socket:
            assert socket.result("1", THREAD) == RESULT
        return
    with pytest.raises(InvalidStatus) as refused, opened(gateway, headers=headers):
        pass
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (403, "application/json; charset=utf-8")
    (error,) = json.loads(response.body or b"")["errors"]
    assert error["message"] == "Pages of this site may not open a WebSocket here."
    assert error["extensions"] == {"code": "CSRF_PREVENTED", "requestId": response.headers["x-request-id"]}


def test_an_operation_that_is_refused_has_the_request_id_of_its_socket(gateway: Gateway) -> None:
    with begun(gateway, headers={"x-request-id": "the-socket"}) as socket:
        assert socket.error("1", "")["extensions"]["requestId"] == "the-socket"


def test_a_page_of_the_gateway_itself_may_open_a_socket(gateway: Gateway) -> None:
    with begun(gateway, headers={"Origin": gateway.url}) as socket:
        assert socket.result("1", THREAD) == RESULT


def test_another_path_has_no_socket(gateway: Gateway) -> None:
    elsewhere = Gateway(gateway.http, gateway.url + "/other")
    with pytest.raises(InvalidStatus), opened(elsewhere):
        pass


def test_no_extension_is_negotiated(gateway: Gateway) -> None:
    """Compression would take memory for each connection."""
    with opened(gateway) as socket:
        response = socket.connection.response
        assert response is not None
        assert "Sec-WebSocket-Extensions" not in response.headers
