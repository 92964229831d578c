"""Purging: an entry that has changed is not served again to any caller, also if it was being fetched."""

import asyncio

import pytest

from gateway.auth import Viewer
from gateway.sandbox import Accounts, Fault, Sandbox
from gateway.storage.memory import MemoryStore
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.stack import Purge
from tests.harness import Clock
from tests.upstream.cached import OWNER, Cached, ask, basic, new_store
from tests.upstream.redis_server import RedisServer

OTHER = "other@sandbox.example", "other-password"
VIEWERS = (OWNER, Viewer(basic(*OTHER)))


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts(dict([OTHER])), echo_caller=True)


@pytest.fixture
def cached(upstream: str, clock: Clock, redis: RedisServer | None) -> Cached:
    return Cached(upstream, new_store(redis, clock), clock)


@pytest.mark.parametrize(
    ("subject", "purged"),
    [
        ("thread:th-1", {("thread", "th-1"), ("messages", "th-1")}),
        ("customer:cu-1", {("customer", "cu-1")}),
        ("thread:cu-1", set()),
        ("customer:th-1", set()),
        ("thread:th", set()),
    ],
)
async def test_a_purge_removes_every_callers_entries_about_its_subject_only(
    cached: Cached, subject: str, purged: set[tuple[str, str]]
) -> None:
    asked = [(route, ident) for route in ("thread", "messages") for ident in ("th-1", "th-100")]
    asked += [("customer", "cu-1"), ("customer", "cu-2")]
    async with cached as client:
        for viewer in VIEWERS:
            for route, ident in asked:
                await ask(client, ident, route=route, viewer=viewer)
        await cached.cache.purge(subject)
        for viewer in VIEWERS:
            answers = {each: await ask(client, each[1], route=each[0], viewer=viewer) for each in asked}
            assert {each for each in asked if answers[each].origin is ResponseOrigin.FETCHED} == purged
            again = [(await ask(client, ident, route=route, viewer=viewer)).origin for route, ident in asked]
            assert set(again) == {ResponseOrigin.CACHED}, "responses fetched after the purge are stored"


async def test_a_response_in_flight_during_a_purge_is_not_served_afterwards(cached: Cached, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old", patch={"status": "before the change"}))
    async with cached as client:
        early = asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        await cached.cache.purge("thread:th-1")
        sandbox.release("old")
        assert (await early).body["status"] == "before the change", (
            "a call from before the change may get the old response"
        )
        late = await ask(client)
    assert (late.origin, late.body["status"]) == (ResponseOrigin.FETCHED, "Open")


async def test_no_call_joins_one_that_was_in_flight_during_a_purge(cached: Cached, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old", patch={"status": "before the change"}))
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="new"))
    sandbox.faults.add(Fault("thread", "th-100", times=1, hold="new"))
    async with cached as client:
        early, other = asyncio.create_task(ask(client)), asyncio.create_task(ask(client, "th-100"))
        await asyncio.to_thread(sandbox.wait_for_calls, 2)
        cached.coalescing.purge("thread:th-1")
        await cached.cache.purge("thread:th-1")
        late = [asyncio.create_task(ask(client, ident)) for ident in ("th-1", "th-1", "th-100")]
        await asyncio.to_thread(sandbox.wait_for_calls, 3)
        sandbox.release("old")
        assert (await early).body["status"] == "before the change"
        late.append(asyncio.create_task(ask(client)))
        await asyncio.sleep(0)
        sandbox.release("new")
        assert "before the change" not in {(await each).body["status"] for each in (*late, other)}
    assert sandbox.count() == 3, "calls after the purge share a new call, also when the old one ends"


async def test_no_call_joins_one_that_was_in_flight_when_everything_was_purged(
    upstream: str, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old", patch={"status": "before the change"}))
    cached = Cached(upstream, new_store(None, clock), clock)
    async with cached as client:
        early = asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        assert await Purge(cached.cache, cached.coalescing, is_shared=False).everything()
        assert (await ask(client, seconds=5)).body["status"] == "Open"
        sandbox.release("old")
        assert (await early).body["status"] == "before the change"


async def test_two_purges_during_one_call_count_as_well(cached: Cached, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old"))
    async with cached as client:
        early = asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        for _ in range(2):
            await cached.cache.purge("thread:th-1")
        sandbox.release("old")
        await early
        assert (await ask(client)).origin is ResponseOrigin.FETCHED


async def test_a_purge_holds_if_the_store_evicts_it(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    """A full store evicts the least recently used entry, which may be the new generation."""
    store = MemoryStore(2**17, clock)
    cached = Cached(upstream, store, clock)
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old"))
    async with cached as client:
        early = asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        await cached.cache.purge("thread:th-1")
        for number in range(200):
            await store.set(f"filler-{number}", bytes(2**10), 60)
        sandbox.release("old")
        await early
        assert (await ask(client)).origin is ResponseOrigin.FETCHED


async def test_a_purge_holds_for_responses_of_any_age(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    cached = Cached(upstream, MemoryStore(2**25, clock), clock)
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="old"))
    async with cached as client:
        early = asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        await cached.cache.purge("thread:th-1")
        clock.now += 1_000_000
        sandbox.release("old")
        await early
        assert (await ask(client)).origin is ResponseOrigin.FETCHED


async def test_a_purge_counts_for_all_gateways_at_the_same_redis(
    upstream: str, clock: Clock, server: RedisServer
) -> None:
    """Also with another secret: a webhook reaches only one gateway."""
    here, there = (
        Cached(upstream, new_store(server, clock), clock, secret=secret) for secret in (b"one secret", b"another one")
    )
    async with here as client, there:
        await ask(client)
        assert (await ask(client)).origin is ResponseOrigin.CACHED
        await there.cache.purge("thread:th-1")
        assert (await ask(client)).origin is ResponseOrigin.FETCHED


async def test_a_suspended_cache_serves_and_keeps_nothing_until_everything_is_purged(cached: Cached) -> None:
    async with cached as client:
        purge = Purge(cached.cache, None, is_shared=True)

        async def origins() -> list[ResponseOrigin]:
            return [(await ask(client, ident)).origin for ident in ("th-1", "th-100")]

        await ask(client, "th-1")
        purge.suspend()
        for _ in range(2):
            assert set(await origins()) == {ResponseOrigin.FETCHED}
        assert await purge.everything()
        assert set(await origins()) == {ResponseOrigin.FETCHED}, "what was cached before may be old"
        assert set(await origins()) == {ResponseOrigin.CACHED}


async def test_a_cache_stays_suspended_until_its_store_accepts_the_purge(upstream: str, clock: Clock) -> None:
    class Store(MemoryStore):
        accepts = False

        async def set(self, key: str, value: bytes, lifetime: float, *, urgent: bool = False) -> bool:
            return self.accepts and await super().set(key, value, lifetime, urgent=urgent)

    cached = Cached(upstream, store := Store(2**20, clock), clock)
    purge = Purge(cached.cache, None, is_shared=True)
    async with cached:
        purge.suspend()
        for accepts in (False, True):
            store.accepts = accepts
            assert await purge.everything() is accepts
            assert cached.cache.is_suspended is not accepts
