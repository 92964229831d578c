"""The timeline of a subscription: with GATEWAY_EXPLAIN each result says when what led to it happened."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from gateway.events import SOURCE_GATEWAY, Event
from gateway.execution.subscriptions.timeline import Timeline
from gateway.sandbox import Fault, Sandbox
from tests.live.world import taken, world
from tests.web.streams.conftest import LiveGateway
from tests.web.streams.test_stream_results import TRANSPORTS

QUERY = 'subscription { threadUpdated(id: "th-1") { status } }'
CHANGES = "subscription { threadChanges { thread { status } } }"
AUTHORIZATION = "Bearer of the webhook"
BODY = {"event_code": "thread_updated", "data": {"threads": [{"thread_id": "th-1"}]}}
EXPLAIN = {"gateway-explain": "1"}

StartLive = Callable[..., LiveGateway]


def change(live: LiveGateway, status: str) -> None:
    live.sandbox.store.change_thread("th-1", {"status": status})
    response = live.http.post("/webhooks/gochat", json=BODY, headers={"authorization": AUTHORIZATION})
    assert response.status_code == 204


def start(start_live: StartLive, **overrides: Any) -> LiveGateway:
    return start_live(webhook_authorization=AUTHORIZATION, resync_interval=600, **overrides)


def moments(result: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the cause and the names of the moments of a result, which came one after another."""
    timeline = result["extensions"]["timeline"]
    assert set(timeline) == {"cause", "moments"}
    times = [datetime.fromisoformat(each["at"]) for each in timeline["moments"]]
    assert times == sorted(times)
    return timeline["cause"], [each["moment"] for each in timeline["moments"]]


def test_each_result_has_its_timeline_over_every_transport(start_live: StartLive) -> None:
    live = start(start_live, explain=True)
    for transport in TRANSPORTS:
        live.http.headers.update(EXPLAIN)
        change(live, "Open")
        with transport(live, QUERY) as results:
            assert moments(next(results)) == ("subscribed", ["read", "result", "delivery"])
            for status in ("Waiting", "Closed"):
                change(live, status)
                result = next(results)
                assert result["data"] == {"threadUpdated": {"status": status}}
                assert moments(result) == ("thread_updated", ["webhook", "purge", "read", "result", "delivery"])
            with transport(live, QUERY) as others:
                assert moments(next(others)) == ("subscribed", ["read", "result", "delivery"])
        live.wait_until_open(0)


@pytest.mark.parametrize(("explain", "headers"), [(False, EXPLAIN), (True, {"gateway-explain": "0"})])
def test_nothing_is_shown_where_nobody_may_know_it_or_wants_to(
    start_live: StartLive, explain: bool, headers: dict[str, str]
) -> None:
    live = start(start_live, explain=explain)
    live.http.headers.update(headers)
    for transport in TRANSPORTS:
        change(live, "Open")
        with transport(live, QUERY) as results:
            assert next(results) == {"data": {"threadUpdated": {"status": "Open"}}}
            change(live, "Waiting")
            assert next(results) == {"data": {"threadUpdated": {"status": "Waiting"}}}
        live.wait_until_open(0)


def test_those_who_watch_all_changes_get_it_too(start_live: StartLive) -> None:
    live = start(start_live, explain=True)
    live.http.headers.update(EXPLAIN)
    with TRANSPORTS[0](live, CHANGES) as results:
        live.wait_until_open(1)
        change(live, "Waiting")
        assert moments(next(results)) == ("thread_updated", ["webhook", "purge", "read", "result", "delivery"])


def test_an_error_keeps_its_place_beside_the_timeline(start_live: StartLive) -> None:
    live = start(start_live, explain=True)
    live.http.headers.update(EXPLAIN)
    live.sandbox.faults.add(Fault("thread", "th-1", status=501))
    with TRANSPORTS[0](live, QUERY) as results:
        result = next(results)
    assert [error["extensions"]["code"] for error in result["errors"]] == ["UPSTREAM_ERROR"]
    assert moments(result) == ("subscribed", ["read", "result", "delivery"])


async def test_a_read_without_an_event_says_so(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, resync_interval=0.1) as live:
        live.put("t", status="Open")
        subscription = await live.open('subscription { threadUpdated(id: "t") { status } }')
        await taken(subscription)
        live.put("t", status="Closed")
        await taken(subscription)
        timeline = subscription.timeline
    assert timeline is not None
    assert (timeline.cause, timeline.event) == ("read again", None)
    assert timeline.purged_at is not None
    assert timeline.purged_at <= timeline.read_at


async def test_a_write_of_this_gateway_is_no_webhook(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, resync_interval=600) as live:
        live.put("t", status="Open")
        subscription = await live.open('subscription { threadUpdated(id: "t") { status } }')
        await taken(subscription)
        live.put("t", status="Closed")
        await live.changes.announce("t")
        await taken(subscription)
        timeline = subscription.timeline
    assert timeline is not None
    assert [each["moment"] for each in timeline.shown(0.0)["moments"]][:2] == ["write", "purge"]


def test_times_are_written_as_rfc_3339_has_them() -> None:
    event = Event(("t",), source=SOURCE_GATEWAY, taken_at=1_700_000_000.0)
    shown = Timeline("thread_updated", 1_700_000_000.25, event).shown(1_700_000_001.5)
    assert shown == {
        "cause": "thread_updated",
        "moments": [
            {"moment": "write", "at": "2023-11-14T22:13:20.000000Z"},
            {"moment": "read", "at": "2023-11-14T22:13:20.250000Z"},
            {"moment": "delivery", "at": "2023-11-14T22:13:21.500000Z"},
        ],
    }
