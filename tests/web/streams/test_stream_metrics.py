"""What the operator sees of streams: how many are open, and why each of them ended."""

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest
from starlette.routing import Route
from websockets.frames import Frame, Opcode

from gateway.app import create_app
from gateway.auth import EVERYONE
from gateway.execution.documents.cache import digest_of
from gateway.execution.documents.persisted import NoPersistedDocuments
from gateway.execution.operation import Operation
from gateway.sandbox import BackgroundServer, Fault
from gateway.server.config import gateway_config
from gateway.web.graphql.endpoint import GraphQLEndpoint
from tests.auth.issuer import eventually
from tests.harness import NO_CERTIFICATES, SERVICE, settings
from tests.web.streams.conftest import LiveGateway
from tests.web.streams.responses import EVENTS, events_of, streamed
from tests.web.streams.sockets import begun, opened

THREAD = 'subscription { threadUpdated(id: "th-1") { id } }'
PREFIX = "gochat_gateway_"


def test_subscriptions_and_sockets_are_counted(start_live: Callable[..., LiveGateway]) -> None:
    live = start_live(metrics_port=0)

    def value(name: str, **labels: str) -> float | None:
        return live.registry.get_sample_value(PREFIX + name, labels)

    with streamed(live, THREAD, EVENTS) as response:
        events = events_of(response)
        assert [next(events).type, next(events).type] == ["", "next"]
        assert value("subscriptions_active", transport="sse") == 1
    eventually(lambda: value("subscriptions_active", transport="sse") == 0)
    with begun(live) as socket:
        assert value("websockets_open") == 1
        socket.subscribe("1", THREAD)
        socket.receive()
        socket.connection.socket.close()
    eventually(lambda: value("websockets_open") == 0)
    with opened(live) as socket:
        socket.send([])
        assert socket.closed()[0] == 4400
    eventually(lambda: value("websocket_closes_total", code="4400") == 1)
    with begun(live) as socket:
        socket.subscribe("1", THREAD)
        socket.receive()
        socket.send([])
        assert socket.closed()[0] == 4400
    eventually(lambda: value("subscriptions_ended_total", transport="websocket", reason="connection") == 2)
    eventually(lambda: value("websocket_closes_total", code="4400") == 2)
    for code, counted in ((1000, "1000"), (4999, "other")):
        with opened(live) as socket:
            socket.connection.close(code)
        eventually(lambda counted=counted: value("websocket_closes_total", code=counted) == 1)
    assert value("subscriptions_opened_total", transport="sse") == 1
    assert value("subscriptions_opened_total", transport="websocket") == 2
    assert value("subscriptions_ended_total", transport="sse", reason="client") == 1


@pytest.mark.parametrize(("code", "reason"), [(1000, "client"), (1001, "client"), (4000, "connection")])
def test_the_code_of_a_client_that_leaves_says_why_its_subscription_ended(
    start_live: Callable[..., LiveGateway], code: int, reason: str
) -> None:
    live = start_live(metrics_port=0)
    labels = {"transport": "websocket", "reason": reason}
    with begun(live) as socket, opened(live):
        assert live.registry.get_sample_value(f"{PREFIX}websockets_open", {}) == 2
        socket.subscribe("1", THREAD)
        socket.receive()
        socket.connection.close(code)
        eventually(lambda: live.registry.get_sample_value(f"{PREFIX}subscriptions_ended_total", labels) == 1)


def test_what_follows_the_message_that_closes_is_not_run(start_live: Callable[..., LiveGateway]) -> None:
    """Both messages arrive at once."""
    live = start_live(metrics_port=0)
    operation = json.dumps({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}})
    frames = [Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in ("[]", operation)]
    with begun(live) as socket:
        socket.connection.socket.sendall(b"".join(frames))
        assert socket.closed()[0] == 4400
    eventually(lambda: live.registry.get_sample_value(f"{PREFIX}websockets_open", {}) == 0)
    for code in ("OK", "CLIENT_DISCONNECTED"):
        labels = {"type": "query", "code": code}
        assert live.registry.get_sample_value(f"{PREFIX}operations_total", labels) == 0


def test_a_subscription_that_does_not_begin_is_counted_and_logged(
    start_live: Callable[..., LiveGateway], caplog: pytest.LogCaptureFixture
) -> None:
    live = start_live(metrics_port=0)
    none = "subscription None { threadsUpdated(ids: []) { id } }"
    headers = {**EVENTS, "x-request-id": "the-request"}
    with caplog.at_level(logging.INFO), streamed(live, none, headers, operationName="None") as response:
        (_, result, _) = events_of(response)
    (error,) = result.data["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "requestId": "the-request"}
    labels = {"type": "subscription", "code": "BAD_USER_INPUT"}
    assert live.registry.get_sample_value(f"{PREFIX}operations_total", labels) == 1
    (line,) = (record.fields for record in caplog.records if record.getMessage() == "subscription")  # type: ignore[attr-defined]
    assert line == {
        "requestId": "the-request",
        "operation": "None",
        "type": "subscription",
        "document": digest_of(none),
        "caller": EVERYONE,
        "errors": ("BAD_USER_INPUT",),
    }


class Unsound(NoPersistedDocuments):
    """Knows the documents that come with their hash, and has a bug."""

    async def resolve(self, operation: Operation) -> Operation:
        return operation

    async def register(self, *_: object) -> None:
        raise ZeroDivisionError("a secret")


def with_a_bug(endpoint: GraphQLEndpoint) -> GraphQLEndpoint:
    streams = endpoint.streams.streams
    streams = replace(streams, runner=replace(streams.runner, persisted=Unsound()))
    return replace(endpoint, streams=replace(endpoint.streams, streams=streams))


def test_a_bug_is_counted_and_logged_and_its_client_gets_an_error(
    upstream: str, servers: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings(upstream_url=upstream, **SERVICE, metrics_port=0))
    (endpoint,) = (each.endpoint for each in app.routes if isinstance(each, Route) and each.path == "/graphql")
    assert isinstance(endpoint, GraphQLEndpoint)
    app.router.routes[:] = [Route("/unsound", with_a_bug(endpoint))]
    url = servers.enter_context(BackgroundServer(gateway_config(app))).url
    query = "{ __typename }"
    named = {"persistedQuery": {"version": 1, "sha256Hash": sha256(query.encode()).hexdigest()}}
    body = {"query": query, "extensions": named}
    with caplog.at_level(logging.INFO), httpx.Client(trust_env=False, verify=NO_CERTIFICATES) as http:
        response = http.post(f"{url}/unsound", json=body, headers={**EVENTS, "x-request-id": "mine"})
    result, end = (each for each in events_of(response) if each.type)
    assert (end.type, list(result.data)) == ("complete", ["errors"])
    (error,) = result.data["errors"]
    assert error["extensions"] == {"code": "INTERNAL_ERROR", "requestId": "mine"}
    assert "secret" not in error["message"]
    value = app.state.metrics.registry.get_sample_value
    assert value(f"{PREFIX}operations_total", {"type": "query", "code": "INTERNAL_ERROR"}) == 1
    assert value(f"{PREFIX}operations_in_flight", {}) == 0
    logged = {each.getMessage(): each for each in caplog.records}
    assert logged["an operation failed"].exc_info
    assert vars(logged["operation"])["fields"]["errors"] == ["INTERNAL_ERROR"]


def test_a_subscription_that_ends_with_an_error_is_counted_and_logged_with_it(
    start_live: Callable[..., LiveGateway], caplog: pytest.LogCaptureFixture
) -> None:
    live = start_live(metrics_port=0)
    live.sandbox.faults.add(Fault("thread", "th-1", status=403))
    with caplog.at_level(logging.INFO), streamed(live, THREAD, EVENTS) as response:
        _, result, _ = events_of(response)
        assert [error["extensions"]["code"] for error in result.data["errors"]] == ["FORBIDDEN"]
        labels = {"type": "subscription", "code": "FORBIDDEN"}
        eventually(lambda: live.registry.get_sample_value(f"{PREFIX}operations_total", labels) == 1)
    labels["code"] = "OK"
    assert not live.registry.get_sample_value(f"{PREFIX}operations_total", labels)
    (line,) = (record.fields for record in caplog.records if record.getMessage() == "subscription")  # type: ignore[attr-defined]
    assert (line["ended"], line["results"], line["errors"]) == ("unauthorized", 1, ("FORBIDDEN",))


def test_the_time_from_a_webhook_to_a_delivery_is_measured(start_live: Callable[..., LiveGateway]) -> None:
    live = start_live(metrics_port=0, webhook_authorization="secret", resync_interval=600)
    live.change("t", status="Open")
    query = 'subscription { threadUpdated(id: "t") { status } }'
    with begun(live) as socket:
        socket.subscribe("1", query)
        socket.receive()
        live.change("t", status="Closed")
        body = {"event_code": "thread_updated", "data": {"thread_id": "t"}}
        response = live.http.post("/webhooks/gochat", json=body, headers={"authorization": "secret"})
        assert response.status_code == 204
        assert socket.receive()["payload"] == {"data": {"threadUpdated": {"status": "Closed"}}}
        eventually(lambda: live.registry.get_sample_value(PREFIX + "event_delivery_seconds_count", {}) == 1)
    assert (live.registry.get_sample_value(PREFIX + "event_delivery_seconds_sum", {}) or 0) < 20


def test_a_subscription_that_begins_after_the_event_is_no_delivery_of_it(
    start_live: Callable[..., LiveGateway],
) -> None:
    live = start_live(metrics_port=0, webhook_authorization="secret", resync_interval=600)
    query = 'subscription { threadUpdated(id: "th-1") { status } }'
    body = {"event_code": "thread_updated", "data": {"thread_id": "th-1"}}
    with begun(live) as socket:
        socket.subscribe("1", query)
        socket.receive()
        live.sandbox.store.change_thread("th-1", {"status": "Closed"})
        assert live.http.post("/webhooks/gochat", json=body, headers={"authorization": "secret"}).status_code == 204
        socket.receive()
        for identifier in ("2", "3"):
            socket.subscribe(identifier, query)
            assert socket.receive()["payload"] == {"data": {"threadUpdated": {"status": "Closed"}}}
        assert live.registry.get_sample_value(PREFIX + "event_delivery_seconds_count", {}) == 1


@pytest.mark.slow  # it waits for seconds
def test_a_client_that_takes_nothing_delays_nobody(live: LiveGateway) -> None:
    """Its results wait for it alone, and only the latest of them."""
    live.change("large", content="x" * 100)
    query = 'subscription { threadUpdated(id: "large") { tags } }'
    with begun(live) as stuck, begun(live) as other:
        stuck.connection.socket.setsockopt(1, 8, 4096)
        for socket in (stuck, other):
            socket.subscribe("1", query)
        assert other.receive()["payload"] == {"data": {"threadUpdated": {"tags": []}}}
        for number in range(12):
            live.change("large", tags=[f"{number}" * 50_000])
            while other.receive()["payload"]["data"]["threadUpdated"]["tags"] != [f"{number}" * 50_000]:
                pass
    live.wait_until_open(0)
