"""Why a subscription ends, does not begin, or reads again."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace

from gateway.auth import Viewer
from gateway.events import Event
from gateway.execution.subscriptions import EndReason, Subscription
from gateway.sandbox import Accounts, Fault, Sandbox
from tests.live.world import EVERYONE, SECONDS, World, data, passthrough, taken, world

OTHER = "other@sandbox.example", "other-password"
THIRD = "third@sandbox.example", "third-password"
THREAD = "subscription ($id: ID!) { threadUpdated(id: $id) { id status tags } }"
CHANGES = "subscription { threadChanges { threadId thread { tags } } }"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts(dict([OTHER, THIRD])), echo_caller=True)


async def end(subscription: Subscription) -> EndReason | None:
    """Return why a subscription ended, after whatever it still delivers."""
    async with asyncio.timeout(SECONDS):
        async for _payload in subscription:
            pass
    return subscription.ended


async def open_passthrough(stack: AsyncExitStack, upstream: str, sandbox: Sandbox) -> World:
    overrides = {"upstream_identity": "passthrough", "upstream_username": None, "upstream_password": None}
    return await stack.enter_async_context(world(upstream, sandbox, inbound_auth=None, **overrides))


async def test_each_caller_gets_its_own_view_of_a_thread(upstream: str, sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        live = await open_passthrough(stack, upstream, sandbox)
        live.put("t", status="Open")
        subscriptions = {user: await live.open(THREAD, passthrough(user), id="t") for user in (OTHER, THIRD)}
        for user, subscription in subscriptions.items():
            assert (await data(subscription))["tags"] == [f"caller:{user[0]}"]
        sandbox.clear()
        await live.change("t", status="Closed")
        for user, subscription in subscriptions.items():
            assert await data(subscription) == {"id": "t", "status": "Closed", "tags": [f"caller:{user[0]}"]}
        assert live.reads == 2, "one call for each credential"


async def test_a_caller_is_not_told_of_a_thread_that_it_cannot_read(upstream: str, sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        live = await open_passthrough(stack, upstream, sandbox)
        bare = "subscription { threadChanges { threadId } }"
        subscription = await live.open(bare, passthrough(OTHER))
        sandbox.faults.add(Fault("thread", "secret", status=403))
        for ident in ("secret", "nothing", "th-1"):
            assert await live.changes.publish(Event((ident,)))
        assert await data(subscription) == {"threadId": "th-1"}
        assert await live.delivered(subscription)
        assert subscription.ended is None


async def test_rejected_credentials_end_all_their_subscriptions_after_one_call(upstream: str, sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        live = await open_passthrough(stack, upstream, sandbox)
        live.put("a", status="Open")
        live.put("b", status="Open")
        mine = [await live.open(THREAD, passthrough(OTHER), id=ident) for ident in ("a", "b")]
        mine.append(await live.open(CHANGES, passthrough(OTHER)))
        others = await live.open(THREAD, passthrough(THIRD), id="a")
        for each in (*mine[:2], others):
            await data(each)
        sandbox.clear()
        sandbox.faults.add(Fault("thread", "a", times=1, status=401))
        sandbox.faults.add(Fault("thread", "b", status=500))
        live.put("a", status="Closed")
        assert await live.changes.publish(Event(("a",)))
        await asyncio.wait_for(anext(others), SECONDS)
        ends = [await taken(each) for each in mine]
        if not any("errors" in each for each in ends):
            pytest.fail("the other caller got the 401")
        assert {each["errors"][0]["extensions"]["code"] for each in ends} == {"UNAUTHENTICATED"}
        assert [await end(each) for each in mine] == [EndReason.UNAUTHORIZED] * 3
        assert live.reads == 2
        assert others.ended is None


async def test_rejected_credentials_are_not_tried_for_the_threads_that_wait(upstream: str, sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        live = await open_passthrough(stack, upstream, sandbox)
        subscription = await live.open(CHANGES, Viewer("Bearer revoked", "header:revoked"))
        assert await live.changes.publish(Event(tuple(f"t{number}" for number in range(100))))
        assert await end(subscription) is EndReason.UNAUTHORIZED
        assert await live.delivered()
        assert live.reads <= live.subscriptions.limits.reads, "those under way at the first 401"


async def test_a_failed_read_is_not_repeated_for_a_caller_that_has_left(upstream: str, sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        live = await open_passthrough(stack, upstream, sandbox)
        subscription = await live.open(CHANGES, passthrough(OTHER))
        sandbox.faults.add(Fault("thread", status=503))
        assert await live.changes.publish(Event(("t",)))
        assert await live.delivered(subscription)
        await subscription.aclose()
        sandbox.clear()
        await live.changes.resynchronise("redis")  # whatever is still watched is read at once
        assert await live.delivered()
        assert live.reads == 0


async def test_a_403_ends_the_subscription_of_that_thread_only(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox) as live:
        live.put("a", status="Open")
        live.put("b", status="Open")
        refused, other = await live.open(THREAD, id="a"), await live.open(THREAD, id="b")
        await data(refused)
        await data(other)
        sandbox.faults.add(Fault("thread", "a", status=403))
        await live.change("a", status="Closed")
        (error,) = (await taken(refused))["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert await end(refused) is EndReason.UNAUTHORIZED
        assert other.ended is None


async def test_a_subscription_ends_with_its_credentials(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox) as live:
        viewer = replace(EVERYONE, expires=time.time() + 0.2)
        assert await end(await live.open(THREAD, viewer, id="th-1")) is EndReason.EXPIRED


@pytest.mark.slow  # a thousand subscriptions
async def test_nothing_is_delivered_after_the_end(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, max_subscriptions_per_caller=1000) as live:
        live.put("t", status="Open")
        first, *others = [await live.open(THREAD, id="t") for _ in range(1000)]
        for each in (first, *others):
            await data(each)
        next_state = asyncio.ensure_future(data(first))

        def expire(_: object) -> None:
            for each in others:
                each.end(EndReason.EXPIRED)

        next_state.add_done_callback(expire)
        await live.change("t", status="Closed")
        assert (await next_state)["status"] == "Closed"
        assert await live.delivered(first)
        left = [await anext(each, None) for each in others]
        assert left[-1] is None, "the others ended while the state was offered to one after another"
        assert not any(left)


async def test_a_subscription_ends_after_its_lifetime(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, subscription_max_lifetime=1) as live:
        started = time.monotonic()
        assert await end(await live.open(THREAD, id="th-1")) is EndReason.LIFETIME
        assert time.monotonic() - started >= 0.9


async def test_what_a_worker_leaves_open_is_drained(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox) as live:
        subscription = await live.open(THREAD, id="th-1")
    assert await end(subscription) is EndReason.DRAIN


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { threadUpdated { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($id: ID!) { threadUpdated(id: $id) { id } }", "BAD_USER_INPUT"),
        ("subscription { threadsUpdated(ids: []) { id } }", "BAD_USER_INPUT"),
        ('subscription { threadUpdated(id: "") { id } }', "BAD_USER_INPUT"),
        ('subscription { threadUpdated(id: "a/b") { id } }', "BAD_USER_INPUT"),
        ('subscription { threadsUpdated(ids: ["th-1", ".."]) { id } }', "BAD_USER_INPUT"),
        ('subscription { customerUpdated(externalId: "a\\nb") { id } }', "BAD_USER_INPUT"),
        ("subscription { a: threadChanges { threadId } b: threadChanges { threadId } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($no: Boolean = false) { threadChanges @include(if: $no) { threadId } }", None),
    ],
)
async def test_a_wrong_subscription_is_refused(live: World, document: str, code: str | None) -> None:
    assert await live.code(document) in ({code} if code else {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"})
    assert live.subscriptions.open == 0


async def test_subscriptions_can_be_disabled(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, subscriptions=False) as live:
        assert await live.code(THREAD, id="th-1") == "SUBSCRIPTIONS_DISABLED"


async def test_a_worker_and_a_caller_have_a_limit(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, max_subscriptions=3, max_subscriptions_per_caller=2) as live:
        mine = [await live.open(THREAD, id="th-1") for _ in range(2)]
        assert await live.code(THREAD, id="th-2") == "MAX_CALLER_SUBSCRIPTIONS_LIMIT"
        other = Viewer(None, "other")
        await live.open(THREAD, other, id="th-1")
        assert await live.code(THREAD, other, id="th-1") == "MAX_SUBSCRIPTIONS_LIMIT"
        await mine[0].aclose()
        await live.open(THREAD, id="th-2")
        assert live.subscriptions.open == 3


async def test_callers_that_cannot_be_told_apart_count_by_their_address(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, max_subscriptions_per_caller=1) as live:
        for address in ("192.0.2.1", "192.0.2.2"):
            await live.open(THREAD, Viewer(None), address=address, id="th-1")
            assert await live.code(THREAD, Viewer(None), address=address, id="th-1") == "MAX_CALLER_SUBSCRIPTIONS_LIMIT"


async def test_the_initial_states_cost_as_much_as_a_query(upstream: str, sandbox: Sandbox) -> None:
    document = "subscription ($ids: [ID!]!) { threadsUpdated(ids: $ids) { id messages { totalCount } } }"
    async with world(upstream, sandbox, max_cost=6) as live:
        await live.open(document, ids=["a", "b", "c"])
        assert await live.code(document, ids=["a", "b", "c", "d"]) == "MAX_COST_LIMIT"


@pytest.mark.slow  # it waits for seconds
async def test_a_failed_read_is_tried_again_and_shows_nothing_wrong_meanwhile(live: World) -> None:
    live.put("t", status="Open")
    subscription = await live.open(THREAD, id="t")
    await data(subscription)
    live.sandbox.faults.add(Fault("thread", "t", times=3, status=500))
    await live.change("t", status="Closed")
    assert (await data(subscription))["status"] == "Closed"


@pytest.mark.slow  # it waits for seconds
async def test_a_first_read_that_fails_is_reported_and_tried_again(live: World) -> None:
    live.sandbox.faults.add(Fault("thread", "th-1", times=3, status=500))
    subscription = await live.open(THREAD, id="th-1")
    (error,) = (await taken(subscription))["errors"]
    assert error["extensions"]["code"] == "UPSTREAM_ERROR"
    assert (await data(subscription))["id"] == "th-1"


@pytest.mark.slow  # it waits for seconds
async def test_a_state_older_than_its_event_is_read_once_more(live: World) -> None:
    live.put("t", status="Open", updated_at="2023-07-03T11:59:45Z")
    subscription = await live.open(THREAD, id="t")
    await data(subscription)
    live.sandbox.clear()
    assert await live.changes.publish(Event(("t",), date="2023-07-03T11:59:46Z"))
    assert await live.delivered(subscription), "the REST API does not show the change yet"
    live.put("t", status="Closed", updated_at="2023-07-03T11:59:46Z")
    assert (await data(subscription))["status"] == "Closed"
    assert live.reads == 2


async def test_a_lost_webhook_heals(upstream: str, sandbox: Sandbox) -> None:
    async with world(upstream, sandbox, resync_interval=0.2, cache_url="memory://") as live:
        live.put("t", status="Open")
        subscription = await live.open(THREAD, id="t")
        await data(subscription)
        live.put("t", status="Closed")
        assert (await data(subscription))["status"] == "Closed"


async def test_field_scopes_hold_for_each_subscriber(upstream: str, sandbox: Sandbox) -> None:
    document = 'subscription { threadUpdated(id: "th-1") { id contacts } }'
    keys = {"inbound_auth": "jwt", "field_scopes": True, "jwt_issuer": "i", "jwt_audience": "a"}
    async with world(upstream, sandbox, **keys, jwt_jwks_url="http://127.0.0.1:1/keys") as live:
        may = await live.open(document, Viewer(None, "may", frozenset({"customer:personal"})))
        may_not = await live.open(document, Viewer(None, "may not"))
        assert (await data(may))["contacts"]
        result = await taken(may_not)
        assert result["data"]["threadUpdated"]["contacts"] is None
        assert result["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert may_not.ended is None


async def test_callers_are_read_for_in_turn(upstream: str, sandbox: Sandbox) -> None:
    account = {"upstream_identity": "passthrough", "upstream_username": None, "upstream_password": None}
    async with world(upstream, sandbox, inbound_auth=None, upstream_max_concurrency=2, **account) as live:
        assert live.subscriptions.limits.reads == 1
        sandbox.faults.add(Fault("thread", "a0", times=1, hold="gate"))
        greedy = [await live.open(THREAD, passthrough(OTHER), id=f"a{number}") for number in range(10)]
        await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
        modest = await live.open(THREAD, passthrough(THIRD), id="b")
        left = await live.open(THREAD, passthrough(THIRD), id="c")
        await asyncio.sleep(0)
        await left.aclose()  # while it waits for its turn
        sandbox.release("gate")
        await taken(modest)
        for each in greedy:
            await taken(each)
        order = [call.path.rpartition("/")[2] for call in sandbox.calls if call.route == "thread"]
    assert order.index("b") <= 2
    assert sorted(order) == sorted([*(f"a{number}" for number in range(10)), "b"])
