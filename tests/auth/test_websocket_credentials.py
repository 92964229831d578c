"""Who may open a connection on a WebSocket, and for how long: every operation passes the checks of a request."""

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.auth.api_keys import generate_api_key
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from tests.auth.issuer import Issuer, eventually
from tests.harness import Clock, Gateway, StartGateway
from tests.web.streams.sockets import begun, opened

THREAD = '{ thread(id: "th-1") { id } }'
RESULT = {"data": {"thread": {"id": "th-1"}}}
BASIC = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


@pytest.fixture
def passthrough(start: StartGateway) -> Gateway:
    return start(upstream_identity="passthrough", inbound_auth=None)


@pytest.mark.parametrize(
    "payload",
    [{"authorization": BASIC}, {"Authorization": BASIC}, {"connectionParams": {"token": BASIC}, "authorization": None}],
)
def test_credentials_may_be_in_the_payload(passthrough: Gateway, sandbox: Sandbox, payload: Any) -> None:
    with begun(passthrough, payload) as socket:
        assert socket.result("1", THREAD) == RESULT
    assert {call.headers["authorization"] for call in sandbox.calls} == {BASIC}


@pytest.mark.parametrize("name", ["x-api-key", "X-API-Key"])
def test_an_api_key_may_be_in_the_payload(start: StartGateway, tmp_path: Path, name: str) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    (tmp_path / "keys.toml").write_text(line)
    gateway = start(inbound_auth="api_key", api_keys_file=tmp_path / "keys.toml")
    with begun(gateway, {name: key}) as socket:
        assert socket.result("1", THREAD) == RESULT
    with opened(gateway) as socket:
        socket.send({"type": "connection_init", "payload": {name: f"{key}x"}})
        assert socket.closed()[0] == 4403


def test_credentials_may_be_in_the_handshake(passthrough: Gateway, sandbox: Sandbox) -> None:
    with begun(passthrough, headers={"authorization": BASIC}) as socket:
        assert socket.result("1", THREAD) == RESULT
    assert {call.headers["authorization"] for call in sandbox.calls} == {BASIC}


def test_an_api_key_may_be_in_the_handshake(start: StartGateway, tmp_path: Path) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    (tmp_path / "keys.toml").write_text(line)
    gateway = start(inbound_auth="api_key", api_keys_file=tmp_path / "keys.toml")
    with begun(gateway, headers={"x-api-key": key}) as socket:
        assert socket.result("1", THREAD) == RESULT


def test_credentials_in_the_payload_count_before_those_of_the_handshake(passthrough: Gateway, sandbox: Sandbox) -> None:
    with begun(passthrough, {"authorization": BASIC}, headers={"authorization": "Bearer of the handshake"}) as socket:
        assert socket.result("1", THREAD) == RESULT
    assert {call.headers["authorization"] for call in sandbox.calls} == {BASIC}


def test_two_sockets_have_their_own_credentials(passthrough: Gateway) -> None:
    with begun(passthrough, {"authorization": BASIC}) as one, begun(passthrough, {"authorization": "Bearer x"}) as two:
        assert one.result("1", THREAD) == RESULT
        payload = two.result("1", THREAD)
        assert payload["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_bare_token_of_a_router_is_a_bearer_token(
    start_with_tokens: StartGateway,
    issuer: Issuer,
) -> None:
    gateway = start_with_tokens()
    for payload in (
        {"connectionParams": {"token": issuer.token()}},
        {"connectionParams": {"token": f"Bearer {issuer.token()}"}},
        {"authorization": f"Bearer {issuer.token()}"},
    ):
        with begun(gateway, payload) as socket:
            assert socket.result("1", THREAD) == RESULT


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"authorization": ""},
        {"authorization": 1},
        {"authorization": "Bearer ä"},
        {"connectionParams": {"token": ["x"]}},
        {"connectionParams": "x"},
        {"x-api-key": {}},
    ],
)
def test_a_connection_without_credentials_is_forbidden(passthrough: Gateway, payload: Any) -> None:
    with opened(passthrough) as socket:
        socket.send({"type": "connection_init", "payload": payload})
        code, reason = socket.closed()
    assert code == 4403
    assert reason.startswith("Forbidden: ")


def test_credentials_that_are_no_text_are_named_in_the_reason(passthrough: Gateway) -> None:
    with opened(passthrough) as socket:
        socket.send({"type": "connection_init", "payload": {"authorization": 1}})
        assert socket.closed() == (4403, "Forbidden: The credentials in the payload must be strings.")


def test_an_expired_token_is_forbidden(
    start_with_tokens: StartGateway,
    issuer: Issuer,
) -> None:
    """4403 and not 4401: clients fetch a new token and try again after 4403 only."""
    with opened(start_with_tokens()) as socket:
        socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {issuer.token(exp=-31)}"}})
        assert socket.closed() == (4403, "Forbidden: The credentials are not valid.")


def test_a_token_that_expires_ends_the_connection_with_the_next_operation(
    start_with_tokens: StartGateway,
    issuer: Issuer,
    clock: Clock,
) -> None:
    with begun(start_with_tokens(), {"authorization": f"Bearer {issuer.token(exp=int(clock()) + 60)}"}) as socket:
        assert socket.result("1", THREAD) == RESULT
        clock.now += 100
        socket.subscribe("2", THREAD)
        assert socket.closed() == (4403, "Forbidden: The credentials are not valid.")


WATCH = 'subscription { threadUpdated(id: "th-1") { id } }'


def within_the_leeway(issuer: Issuer) -> str:
    """Return a token that has expired and is still accepted: the clocks of the issuer and the gateway may differ."""
    return issuer.token(exp=int(issuer.clock()) - 5)


def test_a_token_that_expires_during_a_subscription_ends_the_connection(
    start_with_tokens: StartGateway, issuer: Issuer
) -> None:
    gateway = start_with_tokens(subscriptions=True)
    with begun(gateway, {"authorization": f"Bearer {within_the_leeway(issuer)}"}) as socket:
        socket.subscribe("1", WATCH)
        with suppress(ConnectionClosed):
            while socket.receive()["type"] == "next":
                pass
        assert socket.closed() == (4403, "Forbidden: the credentials have expired")


def test_a_token_that_expires_during_a_subscription_is_why_it_ends_though_another_operation_shows_it(
    start_with_tokens: StartGateway, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway")
    with begun(start_with_tokens(), {"authorization": f"Bearer {issuer.token(exp=int(clock()) + 60)}"}) as socket:
        socket.subscribe("1", WATCH)
        assert socket.receive()["type"] == "next"
        clock.now += 100
        socket.subscribe("2", THREAD)
        assert socket.closed()[0] == 4403

    def ends() -> list[str]:
        return [each.fields["ended"] for each in caplog.records if each.getMessage() == "subscription"]  # type: ignore[attr-defined]

    eventually(lambda: ends() == ["expired"])


@pytest.mark.parametrize(
    ("accept", "end"),
    [
        ("text/event-stream", "\n\nevent: complete\ndata:\n\n"),
        ("multipart/mixed;subscriptionSpec=1.0", "}\r\n--graphql--\r\n"),
    ],
)
def test_a_token_that_expires_during_a_subscription_ends_its_response(
    start_with_tokens: StartGateway, issuer: Issuer, accept: str, end: str
) -> None:
    """Its client is told why, and must not connect again with the same token."""
    gateway = start_with_tokens(subscriptions=True)
    headers = {"accept": accept, "authorization": f"Bearer {within_the_leeway(issuer)}"}
    response = gateway.http.post("/graphql", json={"query": WATCH}, headers=headers)
    assert response.status_code == 200
    assert '"code":"UNAUTHENTICATED"' in response.text
    assert response.text.endswith(end)


def test_a_missing_scope_is_forbidden(
    start_with_tokens: StartGateway,
    issuer: Issuer,
) -> None:
    with opened(start_with_tokens(required_scopes="chat:read")) as socket:
        socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {issuer.token(scope='other')}"}})
        assert socket.closed() == (4403, "Forbidden: This needs the scope chat:read.")


def test_too_many_wrong_credentials_are_told_to_wait(
    start_with_tokens: StartGateway,
    issuer: Issuer,
) -> None:
    gateway = start_with_tokens(auth_failure_limit="1/minute")
    codes = []
    for _ in range(2):
        with opened(gateway) as socket:
            socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {issuer.token(exp=-31)}"}})
            codes.append(socket.closed()[0])
    assert codes == [4403, 1013]


def test_wrong_credentials_count_for_the_address_they_come_from(
    start_with_tokens: StartGateway, issuer: Issuer, clock: Clock
) -> None:
    """Those of a handshake, and those of an operation whose token has expired."""
    gateway = start_with_tokens(auth_failure_limit="1/minute", trusted_proxies="127.0.0.1")
    expired = {"authorization": f"Bearer {issuer.token(exp=-31)}"}

    def code(address: str) -> int | None:
        with opened(gateway, {"x-forwarded-for": address}) as socket:
            socket.send({"type": "connection_init", "payload": expired})
            return socket.closed()[0]

    assert [code(f"192.0.2.{host}") for host in (1, 2, 1)] == [4403, 4403, 1013]
    valid = {"authorization": f"Bearer {issuer.token(exp=int(clock()) + 60)}"}
    with begun(gateway, valid, headers={"x-forwarded-for": "192.0.2.3"}) as socket:
        clock.now += 100
        socket.subscribe("1", THREAD)
        assert socket.closed()[0] == 4403
    assert code("192.0.2.3") == 1013


def test_each_operation_counts_for_the_rate_limit(start: StartGateway) -> None:
    gateway = start(rate_limit="2/minute")
    with begun(gateway) as socket:
        assert socket.result("1", THREAD) == RESULT
        assert socket.result("2", THREAD) == RESULT
        error = socket.error("3", THREAD)
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] >= 1
    assert gateway.http.post("/graphql", json={"query": THREAD}).status_code == 429, "both ways count as one"


def test_limits_and_costs_hold_for_operations_on_a_socket(start: StartGateway) -> None:
    with begun(start(max_depth=3, max_cost=1)) as socket:
        deep = '{ thread(id: "th-1") { customers { profile { customFields { id } } } } }'
        assert socket.error("1", deep)["extensions"]["code"] == "MAX_DEPTH_LIMIT"
        costly = '{ a: thread(id: "th-1") { id } b: thread(id: "th-2") { id } }'
        assert socket.error("1", costly)["extensions"]["code"] == "MAX_COST_LIMIT"


def test_persisted_documents_work_on_a_socket(gateway: Gateway) -> None:
    digest = "3b7a5f0fbd4e5d0d4e0e3a7e7c3a9d1d2c1f6b8a9e0d7c6b5a4f3e2d1c0b9a8f"
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
    with begun(gateway) as socket:
        socket.send({"type": "subscribe", "id": "1", "payload": {"extensions": extensions}})
        (error,) = socket.receive()["payload"]
        assert error["message"] == "PersistedQueryNotFound"
        socket.send({"type": "subscribe", "id": "1", "payload": {"documentId": 5}})
        assert socket.receive()["type"] == "error"


def test_an_operation_has_a_context_of_its_own(gateway: Gateway, sandbox: Sandbox) -> None:
    """What one operation has loaded is not kept for the next one."""
    with begun(gateway) as socket:
        before = socket.result("1", '{ thread(id: "th-1") { messageCount } }')
        sandbox.faults.add(Fault("thread", "th-1", patch={"message_count": 4711}))
        after = socket.result("2", '{ thread(id: "th-1") { messageCount } }')
    assert before["data"]["thread"]["messageCount"] == 4
    assert after["data"]["thread"]["messageCount"] == 4711


def test_each_operation_is_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway")
    with begun(gateway, headers={"x-request-id": "the-socket"}) as socket:
        socket.result("1", "query Named { __typename }")
        socket.error("2", "{ nothing }")
    lines = [record.fields for record in caplog.records if record.getMessage() == "operation"]  # type: ignore[attr-defined]
    assert [(each["requestId"], each["operation"], each["errors"]) for each in lines] == [
        ("the-socket.1", "Named", []),
        ("the-socket.2", None, ["GRAPHQL_VALIDATION_FAILED"]),
    ]
