"""A subscription over each of the three transports: its results, its end, and its refusals."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from gateway.sandbox import Fault
from tests.harness import Gateway
from tests.web.streams.conftest import LiveGateway
from tests.web.streams.responses import EVENTS, PARTS, Event, events_of, parts_of, streamed
from tests.web.streams.sockets import begun

THREAD = "subscription Watch($id: ID!) { threadUpdated(id: $id) { id status } }"
Results = Callable[..., Any]
StartLive = Callable[..., LiveGateway]


@contextmanager
def over_sse(gateway: Gateway, query: str, method: str = "POST", **variables: Any) -> Iterator[Iterator[Any]]:
    shown: Any = json.dumps(variables) if method == "GET" else variables
    with streamed(gateway, query, EVENTS, method, variables=shown) as response:
        events = events_of(response)
        yield (each.data for each in events if each.type == "next")


@contextmanager
def over_multipart(gateway: Gateway, query: str, **variables: Any) -> Iterator[Iterator[Any]]:
    with streamed(gateway, query, PARTS, variables=variables) as response:
        if response.headers["content-type"].startswith("application/json"):
            yield iter([json.loads(response.read())])  # a document that is refused is not known as a subscription
            return
        parts = parts_of(response)
        yield (each.get("payload") or {"errors": each["errors"]} for each in parts if each)


@contextmanager
def over_websocket(gateway: Gateway, query: str, **variables: Any) -> Iterator[Iterator[Any]]:
    def results() -> Iterator[Any]:
        while (message := socket.receive())["type"] != "complete":
            yield message["payload"] if message["type"] == "next" else {"errors": message["payload"]}
            if message["type"] == "error":
                return

    asked = {name: value for name, value in gateway.http.headers.items() if name == "gateway-explain"}
    with begun(gateway, headers=asked) as socket:
        socket.subscribe("1", query, variables=variables)
        yield results()


TRANSPORTS: list[Results] = [over_sse, over_multipart, over_websocket]


@pytest.fixture(params=TRANSPORTS, ids=lambda each: each.__name__)
def transport(request: pytest.FixtureRequest) -> Results:
    chosen: Results = request.param
    return chosen


def state(status: str) -> dict[str, Any]:
    return {"data": {"threadUpdated": {"id": "t", "status": status}}}


def test_a_subscription_begins_with_the_current_state_and_follows_changes(
    live: LiveGateway, transport: Results
) -> None:
    live.change("t", status="Open")
    with transport(live, THREAD, id="t") as results:
        assert next(results) == state("Open")
        live.change("t", status="Closed")
        assert next(results) == state("Closed")
    live.wait_until_open(0)


def test_a_subscription_may_come_by_get(live: LiveGateway) -> None:
    live.change("t", status="Open")
    with over_sse(live, THREAD, "GET", id="t") as results:
        assert next(results) == state("Open")


def test_a_client_that_hangs_up_ends_its_subscription(live: LiveGateway, transport: Results) -> None:
    live.change("t", status="Open")
    with transport(live, THREAD, id="t") as results:
        next(results)
        live.wait_until_open(1)
    live.wait_until_open(0)


@pytest.mark.parametrize(
    ("overrides", "query", "code"),
    [
        ({"subscriptions": False, "resync_interval": None}, THREAD, "SUBSCRIPTIONS_DISABLED"),
        ({"max_depth": 1}, THREAD, "MAX_DEPTH_LIMIT"),
        ({}, THREAD.replace("status", "nothing"), "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_a_refused_subscription_says_why(
    start_live: StartLive, overrides: dict[str, Any], query: str, code: str
) -> None:
    gateway = start_live(**overrides)
    for transport in TRANSPORTS:
        with transport(gateway, query, id="th-1") as results:
            (result,) = results
        assert [each["extensions"]["code"] for each in result["errors"]] == [code]
        assert "data" not in result


def test_a_worker_has_a_limit_of_subscriptions(start_live: StartLive) -> None:
    gateway = start_live(max_subscriptions=1)
    with over_websocket(gateway, THREAD, id="th-1") as results:
        next(results)
        for transport in TRANSPORTS:
            with transport(gateway, THREAD, id="th-1") as others:
                (result,) = others
            assert result["errors"][0]["extensions"]["code"] == "MAX_SUBSCRIPTIONS_LIMIT"


def test_callers_without_names_have_a_limit_for_each_address(start_live: StartLive) -> None:
    live = start_live(max_subscriptions_per_caller=1, trusted_proxies="127.0.0.1")
    one, other = ({"x-forwarded-for": f"192.0.2.{host}"} for host in (1, 2))
    with begun(live, headers=one) as first, begun(live, headers=other) as second:
        for socket in (first, second):
            socket.subscribe("1", THREAD, variables={"id": "th-1"})
            assert socket.receive()["type"] == "next"
            error = socket.error("2", THREAD, variables={"id": "th-2"})
            assert error["extensions"]["code"] == "MAX_CALLER_SUBSCRIPTIONS_LIMIT"


def refused_by_sse(live: LiveGateway) -> Iterator[Any]:
    with streamed(live, THREAD, EVENTS, variables={"id": "t"}) as response:
        *results, last = watched(live, (each for each in events_of(response) if each.type))
    assert last == Event("complete", "")
    yield from (each.data for each in results)


def refused_by_multipart(live: LiveGateway) -> Iterator[Any]:
    with streamed(live, THREAD, PARTS, variables={"id": "t"}) as response:
        *results, last = watched(live, (each for each in parts_of(response) if each))
    assert last["payload"] is None
    yield from (each["payload"] for each in results)
    yield {"errors": last["errors"]}


def refused_by_websocket(live: LiveGateway) -> Iterator[Any]:
    with begun(live) as socket:
        socket.subscribe("1", THREAD, variables={"id": "t"})
        messages = watched(live, iter(socket.receive, None))
        while (message := next(messages))["type"] == "next":
            yield message["payload"]
        assert message["type"] == "error"
        yield {"errors": message["payload"]}
        socket.send({"type": "ping"})
        assert socket.receive() == {"type": "pong"}, "nothing follows, and the socket lives"


def watched(live: LiveGateway, received: Iterator[Any]) -> Iterator[Any]:
    """Yield what is received, and let the REST API refuse once there is a state."""
    for each in received:
        yield each
        live.sandbox.faults.add(Fault("thread", "t", status=403))


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("messages", [refused_by_sse, refused_by_multipart, refused_by_websocket])
def test_a_subscription_that_the_rest_api_refuses_ends_with_the_reason(
    live: LiveGateway, messages: Callable[[LiveGateway], Iterator[Any]], *, begins: bool
) -> None:
    live.change("t", status="Open")
    if not begins:
        live.sandbox.faults.add(Fault("thread", "t", status=403))
    *states, last = messages(live)
    assert states == [state("Open")] * begins
    assert list(last) == ["errors"]
    assert [each["extensions"]["code"] for each in last["errors"]] == ["FORBIDDEN"]
    live.wait_until_open(0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "subscription {"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "subscription { nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": THREAD, "operationName": "Another"}, "BAD_USER_INPUT"),
        ({"query": THREAD, "variables": {"id": None}}, "BAD_USER_INPUT"),
        ({"documentId": f"sha256:{'0' * 64}"}, "PERSISTED_QUERY_NOT_FOUND"),
    ],
)
@pytest.mark.parametrize("accept", ["multipart/mixed;subscriptionSpec=1.0", "text/event-stream"])
def test_what_does_not_begin_says_why_although_no_json_is_accepted(
    live: LiveGateway, accept: str, body: dict[str, Any], code: str
) -> None:
    with live.http.stream("POST", "/graphql", json=body, headers={"accept": accept}) as response:
        if accept == "text/event-stream":
            result, end = (each for each in events_of(response) if each.type)
            assert end == Event("complete", "")
            errors = result.data["errors"]
        else:
            (part,) = parts_of(response)
            assert part["payload"] is None
            errors = part["errors"]
    assert errors[0]["extensions"]["code"] == code


@pytest.mark.slow  # it waits for seconds
def test_a_subscription_as_old_as_it_may_get_is_interrupted(start_live: StartLive) -> None:
    """Its client comes back by itself: an event stream ends without ``complete``, a socket closes with 1012."""
    gateway = start_live(subscription_max_lifetime=1)
    gateway.change("t", status="Open")
    with streamed(gateway, THREAD, EVENTS, variables={"id": "t"}) as response:
        assert [each.type for each in events_of(response) if each.type] == ["next"]
    with streamed(gateway, THREAD, PARTS, variables={"id": "t"}) as response:
        *_states, last = (each for each in parts_of(response) if each)
    assert last["payload"] is None
    found = last["errors"][0]["extensions"]
    assert found == {"code": "SUBSCRIPTION_INTERRUPTED", "requestId": response.headers["x-request-id"]}
    with begun(gateway) as socket:
        socket.subscribe("1", THREAD, variables={"id": "t"})
        assert socket.receive()["type"] == "next"
        assert socket.closed() == (1012, "A subscription is as old as it may get")


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "multipart/mixed"])
def test_a_client_that_accepts_no_stream_is_told_how_to_subscribe(live: LiveGateway, accept: str) -> None:
    response = live.http.post("/graphql", json={"query": THREAD, "variables": {"id": "t"}}, headers={"accept": accept})
    assert response.status_code in {200, 400, 406}
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "text/event-stream" in error["message"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/event-stream", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("multipart/mixed;subscriptionSpec=1.0", "multipart/mixed"),
        ('multipart/mixed;subscriptionSpec="1.0"', "multipart/mixed"),
        ('multipart/mixed; boundary="graphql" ; subscriptionSpec="1.0", application/json', "multipart/mixed"),
        ("application/json, multipart/mixed;subscriptionspec=1.0", "multipart/mixed"),
        ('application/json;q=0.9, Multipart/Mixed;boundary="a,b;c";subscriptionSpec=1.0', "multipart/mixed"),
        ("multipart/mixed;subscriptionSpec=1.0;q=0.5, text/event-stream;q=0.9", "text/event-stream"),
        ("multipart/mixed;subscriptionSpec=1.0, text/event-stream;q=0.9", "multipart/mixed"),
        ("multipart/mixed;subscriptionSpec=2.0, text/event-stream;q=0.1", "text/event-stream"),
        (
            "application/graphql-response+json, application/json, text/event-stream, multipart/mixed",
            "text/event-stream",
        ),
    ],
)
def test_the_transport_is_the_one_that_the_client_prefers(live: LiveGateway, accept: str, expected: str) -> None:
    with streamed(live, THREAD, {"accept": accept}, variables={"id": "th-1"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].split(";")[0] == expected


def test_heartbeats_are_sent_while_nothing_happens(start_live: StartLive) -> None:
    gateway = start_live(heartbeat=0.05)
    with (
        streamed(gateway, THREAD, EVENTS, variables={"id": "th-1"}) as response,
        closing(events_of(response)) as events,
    ):
        assert [next(events).type for _ in range(6)].count("next") == 1
    with streamed(gateway, THREAD, PARTS, variables={"id": "th-1"}) as response, closing(parts_of(response)) as parts:
        received = [next(parts) for _ in range(6)]
    assert received.count({}) == 5


def test_a_socket_is_asked_whether_its_client_is_there(start_live: StartLive) -> None:
    with begun(start_live(heartbeat=0.05)) as socket:
        for _ in range(5):
            assert socket.receive() == {"type": "ping"}
            socket.send({"type": "pong"})
        assert socket.receive() == {"type": "ping"}
        assert socket.closed() == (4499, "Terminated")


def test_a_completed_subscription_gets_nothing_more(live: LiveGateway) -> None:
    live.change("t", status="Open")
    with begun(live) as socket:
        socket.subscribe("1", THREAD, variables={"id": "t"})
        assert socket.receive()["payload"] == state("Open")
        socket.send({"type": "complete", "id": "1"})
        live.wait_until_open(0)
        live.change("t", status="Closed")
        socket.subscribe("1", THREAD, variables={"id": "t"})
        assert socket.receive()["payload"] == state("Closed")


def test_one_socket_carries_several_subscriptions(live: LiveGateway) -> None:
    for ident in ("a", "b"):
        live.change(ident, status="Open")
    with begun(live) as socket:
        for ident in ("a", "b"):
            socket.subscribe(ident, THREAD, variables={"id": ident})
            assert socket.receive()["id"] == ident
        live.change("b", status="Closed")
        assert socket.receive()["id"] == "b"
        socket.error("c", "{")
        live.change("a", status="Closed")
        assert socket.receive()["id"] == "a"
    live.wait_until_open(0)


def test_each_subscription_is_logged_at_its_end(live: LiveGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway")
    live.change("t", status="Open")
    with begun(live, headers={"x-request-id": "the-socket"}) as socket:
        socket.subscribe("1", THREAD, variables={"id": "t"})
        socket.receive()
        live.change("t", status="Closed")
        socket.receive()
        socket.send({"type": "complete", "id": "1"})
        live.wait_until_open(0)
        socket.result("2", "{ __typename }")
    (line,) = (record.fields for record in caplog.records if record.getMessage() == "subscription")  # type: ignore[attr-defined]
    facts = {name: line[name] for name in ("requestId", "operation", "type", "transport", "ended", "results")}
    assert facts == {
        "requestId": "the-socket.1",
        "operation": "Watch",
        "type": "subscription",
        "transport": "websocket",
        "ended": "client",
        "results": 2,
    }
