"""What a subscription delivers: the current state first, then the latest after every change."""

import asyncio
from typing import Any

import pytest

from gateway.events import Event
from gateway.execution.subscriptions import EndReason, Pace
from gateway.sandbox import Fault, Sandbox
from tests.live.world import World, data, taken, world

THREAD = "subscription ($id: ID!) { threadUpdated(id: $id) { id status tags } }"
THREADS = "subscription ($ids: [ID!]!) { threadsUpdated(ids: $ids) { id status } }"
CHANGES = "subscription { threadChanges { threadId eventCode eventDate source thread { id status } } }"


async def test_a_subscription_begins_with_the_current_state_and_follows_each_change(live: World) -> None:
    live.put("t", status="Open")
    subscription = await live.open(THREAD, id="t")
    assert await data(subscription) == {"id": "t", "status": "Open", "tags": []}
    await live.change("t", status="Closed")
    assert (await data(subscription))["status"] == "Closed"
    await live.change("t", status="Open", tags=["a"])
    assert await data(subscription) == {"id": "t", "status": "Open", "tags": ["a"]}
    assert live.reads == 3


async def test_a_thread_that_is_gone_is_null(live: World) -> None:
    assert await data(await live.open(THREAD, id="nothing")) is None


async def test_several_threads_are_delivered_one_by_one(live: World) -> None:
    for ident in ("a", "b"):
        live.put(ident, status="Open")
    subscription = await live.open(THREADS, ids=["a", "b", "a"])
    first = [await data(subscription), await data(subscription)]
    assert sorted(each["id"] for each in first) == ["a", "b"]
    await live.change("b", status="Closed")
    assert await data(subscription) == {"id": "b", "status": "Closed"}
    assert await live.delivered(subscription)


async def test_a_customer_is_delivered_after_each_change(live: World) -> None:
    document = 'subscription { customerUpdated(externalId: "cu-1") { externalId comment } }'
    subscription = await live.open(document)
    assert (await data(subscription))["externalId"] == "cu-1"
    live.sandbox.store.put_customer("cu-1", {"customer": {"id": "1", "external_id": "cu-1", "comment": "new"}})
    assert await live.changes.publish(Event(customers=("cu-1",)))
    assert (await data(subscription))["comment"] == "new"


WITH_CUSTOMERS = "subscription ($id: ID!) { threadUpdated(id: $id) { customers { externalId comment } } }"


def put_with(live: World, ident: str, comment: str, *customers: str) -> None:
    live.put(ident, customers=[{"id": each, "external_id": each, "comment": comment} for each in customers])


@pytest.mark.parametrize("cache", [{}, {"cache_url": "memory://", "cache_ttl_thread": 600}])
@pytest.mark.parametrize("named", [("cu-a",), ("cu-b",), ("cu-other", "cu-b"), ("cu-a", "cu-b")])
async def test_an_event_of_a_customer_refreshes_the_watched_threads_that_show_it(
    upstream: str, sandbox: Sandbox, cache: dict[str, Any], named: tuple[str, ...]
) -> None:
    async with world(upstream, sandbox, **cache) as live:
        put_with(live, "t", "old", "cu-a", "cu-b")
        put_with(live, "elsewhere", "old", "cu-c")
        shows, other = await live.open(WITH_CUSTOMERS, id="t"), await live.open(WITH_CUSTOMERS, id="elsewhere")
        await taken(shows)
        await taken(other)
        assert await live.delivered(shows, other)
        live.sandbox.clear()
        put_with(live, "t", "new", "cu-a", "cu-b")
        assert await live.changes.publish(Event(customers=named))
        assert [each["comment"] for each in (await data(shows))["customers"]] == ["new", "new"]
        assert await live.delivered(shows, other)
        assert live.reads == 1, "only the thread that shows the customer is read"


async def test_an_event_of_a_customer_during_the_first_read_of_its_thread_is_not_lost(live: World) -> None:
    put_with(live, "t", "old", "cu-a")
    live.sandbox.faults.add(Fault("thread", "t", times=1, hold="old"))
    subscription = await live.open(WITH_CUSTOMERS, id="t")
    await asyncio.to_thread(live.sandbox.wait_for_calls, 1)
    put_with(live, "t", "new", "cu-a")
    assert await live.changes.publish(Event(customers=("cu-a",)))
    live.sandbox.release("old")
    async with asyncio.timeout(20):
        while (await data(subscription))["customers"][0]["comment"] != "new":
            pass
    assert await live.delivered(subscription)
    assert live.reads == 2


async def test_a_body_with_customers_of_another_shape_is_delivered_all_the_same(live: World) -> None:
    live.put("t", status="Open", customers=None)
    subscription = await live.open(THREAD, id="t")
    assert (await data(subscription))["status"] == "Open"
    assert await live.changes.publish(Event(customers=("cu-a",)))
    assert await live.delivered(subscription)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "broken",
    [
        b'{"id": "t", "customers": [{"external_id": "M\xfcller"}]}',
        b'{"id": "t", "updated_at": "\xfc"}',
        b'{"id": "\xfc"}',
        b'{"id": "t", "customers": ' + DEEP + b"}",
        b'{"id": "t", "unknown": ' + DEEP + b"}",
        DEEP,
        b"<html>",
        b"null",
        b"",
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_body_that_cannot_be_read_ends_no_subscription(live: World, broken: bytes) -> None:
    live.put("t", status="Open")
    subscription = await live.open(THREAD, id="t")
    assert (await data(subscription))["status"] == "Open"
    live.sandbox.faults.add(Fault("thread", "t", times=1, body=broken, content_type="application/json"))
    assert await live.changes.publish(Event(("t",), date="2023-07-03T11:59:46Z"))
    assert await live.delivered(subscription)
    await live.change("t", status="Closed")
    assert (await data(subscription))["status"] == "Closed"
    assert subscription.ended is None


async def test_a_customer_of_another_shape_hides_no_other_one(live: World) -> None:
    of_other_shapes = [None, {}, {"external_id": None}, {"external_id": 7}, {"external_id": ["x"]}]
    live.put("t", customers=[*of_other_shapes, {"external_id": "cu-a"}])
    subscription = await live.open('subscription { threadUpdated(id: "t") { id } }')
    await taken(subscription)
    for named in ("cu-a", "7"):
        live.sandbox.clear()
        assert await live.changes.publish(Event(customers=(named,)))
        assert await live.delivered(subscription)
        assert live.reads == 1


async def test_every_change_is_delivered_with_its_thread(live: World) -> None:
    subscription = await live.open(CHANGES)
    live.put("t", status="Open")
    event = Event(("t",), code="thread_updated", date="2023-07-03T11:59:46Z", source="web")
    assert await live.changes.publish(event)
    assert await data(subscription) == {
        "threadId": "t",
        "eventCode": "thread_updated",
        "eventDate": "2023-07-03T11:59:46Z",
        "source": "web",
        "thread": {"id": "t", "status": "Open"},
    }


async def test_a_change_costs_no_call_if_the_thread_is_not_selected(live: World) -> None:
    subscription = await live.open("subscription { threadChanges { threadId } }")
    assert await live.changes.publish(Event(("t",)))
    assert await data(subscription) == {"threadId": "t"}
    assert live.reads == 0


async def test_results_come_from_compiled_plans(live: World) -> None:
    for document in (THREAD, THREADS, CHANGES):
        subscription = await live.open(document, id="th-1", ids=["th-1"])
        assert await live.changes.publish(Event(("th-1",)))
        await taken(subscription)
        assert subscription.execution.executor == "plan", subscription.execution
        assert subscription.execution.type == "subscription"


async def test_a_change_of_something_else_delivers_nothing(live: World) -> None:
    subscription = await live.open('subscription { threadUpdated(id: "t") { status } }')
    live.put("t", status="Open")
    await data(subscription)
    await live.change("t", status="Open", tags=["unselected"])
    assert await live.delivered(subscription)
    assert live.reads == 2


async def test_one_call_and_one_encoding_serve_all_subscribers(live: World) -> None:
    live.put("t", status="Open")
    subscriptions = [await live.open(THREAD, id="t") for _ in range(50)]
    others = [await live.open('subscription { threadUpdated(id: "t") { status } }') for _ in range(50)]
    for each in subscriptions + others:
        await taken(each)
    live.sandbox.clear()
    await live.change("t", status="Closed")
    first = [await asyncio.wait_for(anext(each), 20) for each in subscriptions]
    assert all(each is first[0] for each in first), "it is the same object for all"
    for each in others:
        assert await data(each) == {"status": "Closed"}
    assert live.reads == 1


async def test_a_slow_consumer_gets_the_latest_state_only(live: World) -> None:
    live.put("t", status="0")
    slow, quick = await live.open(THREAD, id="t"), await live.open(THREAD, id="t")
    await taken(quick)
    for number in range(1, 6):
        await live.change("t", status=str(number))
        assert (await data(quick))["status"] == str(number)
    assert (await data(slow))["status"] == "5"
    assert await live.delivered(slow)


async def test_a_slow_consumer_of_all_changes_is_told_to_read_again(live: World) -> None:
    slow = await live.open("subscription { threadChanges { threadId eventCode } }")
    quick = await live.open("subscription { threadChanges { threadId } }")
    for number in range(101):
        assert await live.changes.publish(Event((f"t{number}",), code="thread_updated"))
        assert await data(quick) == {"threadId": f"t{number}"}
    assert await data(slow) == {"threadId": None, "eventCode": "resync"}


async def test_closing_one_leaves_the_others(live: World) -> None:
    live.put("t", status="Open")
    one, other = await live.open(THREAD, id="t"), await live.open(THREAD, id="t")
    await taken(one)
    await taken(other)
    waiting = asyncio.ensure_future(anext(one))
    await asyncio.sleep(0)
    await one.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert one.ended is EndReason.CLIENT
    await live.change("t", status="Closed")
    assert (await data(other))["status"] == "Closed"


async def test_nothing_is_read_for_nobody(live: World) -> None:
    live.put("t", status="Open")
    subscription = await live.open(THREAD, id="t")
    await taken(subscription)
    await subscription.aclose()
    live.sandbox.clear()
    await live.change("t", status="Closed")
    assert await live.delivered()
    assert live.reads == 0


async def test_events_during_a_read_cause_one_more(live: World) -> None:
    live.put("t", status="Open")
    subscription = await live.open(THREAD, id="t")
    await taken(subscription)
    live.sandbox.faults.add(Fault("thread", "t", times=1, hold="old"))
    live.sandbox.clear()
    await live.change("t", status="1")
    await asyncio.to_thread(live.sandbox.wait_for_calls, 1)
    for number in range(2, 10):
        await live.change("t", status=str(number))
    live.sandbox.release("old")
    assert (await data(subscription))["status"] == "9"
    assert await live.delivered(subscription)
    assert live.reads == 2


@pytest.mark.parametrize("document", [THREAD, 'subscription { customerUpdated(externalId: "cu-1") { comment } }'])
async def test_the_first_state_is_current_although_a_webhook_was_lost(
    upstream: str, sandbox: Sandbox, document: str
) -> None:
    async with world(upstream, sandbox, cache_url="memory://", cache_ttl_thread=600, cache_ttl_customer=600) as live:
        for text in ("old", "new"):
            live.put("t", status=text)
            sandbox.store.put_customer("cu-1", {"customer": {"external_id": "cu-1", "comment": text}})
            subscription = await live.open(document, id="t")
            assert text in (await data(subscription)).values()
            await subscription.aclose()


async def test_a_state_of_one_selection_is_not_current_because_another_one_was_read(live: World) -> None:
    live.subscriptions.pace = Pace(fresh=0.05)
    live.put("t", status="Open", tags=["old"])
    first = await live.open(THREAD, id="t")
    assert (await data(first))["tags"] == ["old"]
    loop = asyncio.get_running_loop()
    later = loop.time() + live.subscriptions.pace.fresh
    while loop.time() <= later:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.001)
    live.put("t", status="Closed", tags=["new"])  # its webhook is lost
    other = await live.open('subscription { threadUpdated(id: "t") { status } }')
    assert await data(other) == {"status": "Closed"}
    second = await live.open(THREAD, id="t")
    assert (await data(second))["tags"] == ["new"]
