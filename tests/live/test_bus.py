"""The bus: every process gets every event, and one that missed some knows it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from gateway.events import Event
from gateway.events.bus import LocalBus
from gateway.events.stream import RedisBus
from gateway.events.workers import WorkersBus, WorkersRing
from gateway.sandbox import Sandbox
from gateway.storage.shared import shared_by
from gateway.telemetry import Counts
from tests.harness import settings
from tests.live.world import SECONDS, World, data, taken, world
from tests.upstream.redis_server import RedisServer

THREAD = 'subscription { threadUpdated(id: "t") { status } }'
QUERY = 'query { thread(id: "t") { status } }'


class Consumer:
    """Notes what the bus brings."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.gaps: list[str] = []

    async def apply(self, event: Event) -> None:
        self.events.append(event)

    async def lose(self) -> None:
        self.gaps.append("lost")

    async def resynchronise(self, reason: str) -> bool:
        self.gaps.append(reason)
        return True


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


async def test_a_bus_that_was_not_started_takes_no_event() -> None:
    assert not await LocalBus().publish(Event(("a",)))


# the stream in Redis


class Failing(Consumer):
    """Fails the first time that it is resynchronised: in an unforeseen way, or as a cache without its store does."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self._raises = raises

    async def resynchronise(self, reason: str) -> bool:
        await super().resynchronise(reason)
        is_first = self.gaps.count(reason) == 1
        if is_first and self._raises:
            raise LookupError(reason)
        return not is_first


@asynccontextmanager
async def reading(redis: RedisServer, consumer: Consumer) -> AsyncIterator[tuple[RedisBus, Counts]]:
    """Read the stream in Redis as a gateway of its own does."""
    shared = shared_by(settings(cache_url=redis.url, cache_secret="sixteen or more letters").cache)
    assert shared.redis is not None
    bus = RedisBus(shared.redis, shared.counts)
    try:
        await bus.start(consumer)
        yield bus, shared.counts
    finally:
        await bus.aclose()
        await shared.aclose()


@pytest.mark.parametrize("raises", [True, False], ids=["an exception", "a purge that is not taken"])
async def test_a_reader_goes_on_after_any_failure(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, raises: bool
) -> None:
    consumer = Failing(raises=raises)
    async with reading(redis, consumer) as (bus, _):
        await flush(redis)
        await until(lambda: consumer.gaps.count("redis") == 2)
        assert consumer.gaps == ["place gone", "lost", "redis", "lost", "redis"]
        assert await bus.publish(Event(("a",)), wait=True)
        assert consumer.events == [Event(("a",))]
    unforeseen = [each for each in caplog.records if each.message == "the reader of events failed and begins again"]
    assert [each.exc_info is not None for each in unforeseen] == [True] * 2 * raises


class Held(Consumer):
    """Applies no event before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def apply(self, event: Event) -> None:
        self.arrived.set()
        await self.may_go_on.wait()
        await super().apply(event)


async def test_who_publishes_may_wait_until_every_gateway_has_applied_it(redis: RedisServer) -> None:
    """It waits for a second at most, which a busy machine may take."""
    quick, held, loop = Consumer(), Held(), asyncio.get_running_loop()
    async with reading(redis, quick) as (bus, _), reading(redis, held):
        began = loop.time()
        published = asyncio.create_task(bus.publish(Event(("a",)), wait=True))
        async with asyncio.timeout(SECONDS):
            await held.arrived.wait()
        await until(lambda: quick.events == [Event(("a",))])
        await until(lambda: published.done() or loop.time() > began + 0.3)
        assert not published.done() or loop.time() >= began + 1
        held.may_go_on.set()
        assert await published
        assert held.events == [Event(("a",))] or loop.time() >= began + 1


async def test_who_waits_does_so_no_longer_than_it_takes(redis: RedisServer) -> None:
    """With a second for each event these would take longer than the test may."""
    async with reading(redis, Consumer()) as (shared, _), AsyncExitStack() as stack:
        local = WorkersBus(WorkersRing())
        await local.start(Consumer())
        stack.push_async_callback(local.aclose)
        for bus in (shared, local):
            async with asyncio.timeout(SECONDS):
                for _ in range(SECONDS + 2):
                    assert await bus.publish(Event(("a",)), wait=True)


async def test_who_waits_for_a_reader_that_is_stuck_does_so_for_a_second(redis: RedisServer) -> None:
    async with reading(redis, Held()) as (shared, _), AsyncExitStack() as stack:
        local = WorkersBus(WorkersRing())
        await local.start(Held())
        stack.push_async_callback(local.aclose)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(SECONDS):
            assert await asyncio.gather(*(bus.publish(Event(("a",)), wait=True) for bus in (shared, local)))
        assert asyncio.get_running_loop().time() >= began + 1


async def test_readers_are_known_by_the_time_of_redis_and_forgotten_a_minute_after_their_end(
    redis: RedisServer,
) -> None:
    def now() -> float:
        seconds, microseconds = other.time()
        return float(seconds * 1000 + microseconds / 1000)

    with client(redis) as other:
        began = int(now())
        other.zadd(READERS, {"gone": began - 61_000, "silent": began - 30_000})
        async with reading(redis, Consumer()), reading(redis, Consumer()):
            await until(lambda: other.zscore(READERS, "gone") is None and other.zcard(READERS) == 3)
            (silent, _), *readers = other.zrange(READERS, 0, -1, withscores=True)
        assert silent == b"silent"
        assert all(began <= said <= now() for _, said in readers)
        assert other.zrange(READERS, 0, -1) == [b"silent"]


async def test_an_event_that_this_version_does_not_know_may_be_anything(redis: RedisServer) -> None:
    """It is of a gateway of another version at the same Redis."""
    consumer = Consumer()
    async with reading(redis, consumer):
        with client(redis) as other:
            other.xadd(STREAM, {"event": b'{"threads": 7}'})
        await until(lambda: consumer.events == [Event(everything=True)])
    assert consumer.gaps == []


async def test_a_reader_that_the_stream_has_overtaken_knows_it(redis: RedisServer) -> None:
    """Entries behind those that it missed are still there."""
    consumer = Held()
    async with reading(redis, consumer) as (bus, _):
        for thread in "abc":
            assert await bus.publish(Event((thread,)))
            async with asyncio.timeout(SECONDS):
                await consumer.arrived.wait()
        with client(redis) as trimming:
            trimming.xtrim(STREAM, maxlen=1, approximate=False)
        consumer.may_go_on.set()
        await until(lambda: consumer.gaps == ["place gone"])


async def test_the_stream_does_not_grow_without_end(redis: RedisServer) -> None:
    async with reading(redis, Consumer()) as (bus, _):
        with client(redis) as other:
            pipeline = other.pipeline()
            for _ in range(12_000):
                pipeline.xadd(STREAM, {"x": ""})
            pipeline.execute()
            assert await bus.publish(Event(("a",)))
            assert 10_000 <= other.xlen(STREAM) < 11_000


async def test_redis_that_stays_away_is_one_line_in_the_log(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader tries again twenty times a second."""
    consumer = Consumer()
    async with reading(redis, consumer) as (bus, counts):
        for absence in (1, 2):
            await asyncio.to_thread(redis.kill)
            tries, returned = consumer.gaps.count("lost"), consumer.gaps.count("redis")
            await until(lambda: consumer.gaps.count("lost") >= tries + 4)  # noqa: B023 - it is called at once
            assert not await bus.publish(Event(("a",)))
            said = [record for record in caplog.records if "does not carry events" in record.message]
            assert absence <= len(said) < consumer.gaps.count("lost") - 2
            await asyncio.to_thread(redis.start)
            await until(lambda: consumer.gaps.count("redis") > returned)  # noqa: B023 - as above
        assert counts["redis_failures: events"] == consumer.gaps.count("lost") + 2


async def pair(stack: AsyncExitStack, upstream: str, sandbox: Sandbox, redis: RedisServer) -> tuple[World, World]:
    shared = {"cache_url": redis.url, "cache_secret": "sixteen or more letters", "cache_timeout": 5}
    one = await stack.enter_async_context(world(upstream, sandbox, cache_ttl_thread=600, **shared))
    return one, await stack.enter_async_context(world(upstream, sandbox, cache_ttl_thread=600, **shared))


async def test_an_event_reaches_the_subscribers_of_every_gateway(
    upstream: str, sandbox: Sandbox, redis: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        worlds = await pair(stack, upstream, sandbox, redis)
        worlds[0].put("t", status="Open")
        subscriptions = [await each.open(THREAD) for each in worlds]
        for each in subscriptions:
            await taken(each)
        await worlds[0].change("t", status="Closed")
        assert [await data(each) for each in subscriptions] == [{"status": "Closed"}] * 2


Break = Callable[[RedisServer], Awaitable[None]]


STREAM = "gochat-gateway:events"
READERS = "gochat-gateway:event-readers"


def client(redis: RedisServer) -> Redis:
    """Return a client that does what a gateway of another version does, or an operator."""
    return Redis.from_url(redis.url)


async def restart(redis: RedisServer) -> None:
    await asyncio.to_thread(redis.kill)
    await asyncio.to_thread(redis.start)


async def flush(redis: RedisServer) -> None:
    await asyncio.to_thread(redis.flush)


@pytest.mark.parametrize("breaks", [restart, flush])
async def test_whatever_was_missed_is_read_again(
    upstream: str, sandbox: Sandbox, redis: RedisServer, breaks: Break
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await pair(stack, upstream, sandbox, redis)
        one.put("t", status="Open")
        watching = await other.open(THREAD)
        changes = await other.open("subscription { threadChanges { threadId eventCode } }")
        await taken(watching)
        one.put("t", status="Closed")  # and its event is lost
        await breaks(redis)
        assert await data(watching) == {"status": "Closed"}
        assert await data(changes) == {"threadId": None, "eventCode": "resync"}
        await until_published(one, "t", status="Again")
        assert await data(watching) == {"status": "Again"}


async def until_published(live: World, ident: str, **fields: Any) -> None:
    live.put(ident, **fields)
    async with asyncio.timeout(SECONDS):
        while not await live.changes.publish(Event((ident,))):  # noqa: ASYNC110 - Redis sets no event when it is back
            await asyncio.sleep(0.01)


async def test_a_write_is_announced_to_all_before_it_is_answered(
    upstream: str, sandbox: Sandbox, redis: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await pair(stack, upstream, sandbox, redis)
        one.put("t", status="Open")
        watching = await other.open("subscription { threadChanges { threadId eventCode source } }")
        await one.changes.announce("t")
        assert await data(watching) == {"threadId": "t", "eventCode": "thread_updated", "source": "gateway"}


async def test_without_redis_a_write_is_applied_in_its_own_worker(
    upstream: str, sandbox: Sandbox, redis: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        one, _other = await pair(stack, upstream, sandbox, redis)
        one.put("t", status="Open")
        watching = await one.open(THREAD)
        await taken(watching)
        await asyncio.to_thread(redis.kill)
        one.put("t", status="Closed")
        await one.changes.announce("t")
        assert await data(watching) == {"status": "Closed"}
