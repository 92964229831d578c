"""The bus: every process gets every event, and one that missed some knows it."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.events import Event
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


# the ring of workers


def test_a_ring_is_read_from_any_place_also_around_its_end() -> None:
    ring = WorkersRing(100)
    place = ring.end
    for number in range(200):
        content = bytes([65 + number % 26]) * (number % 40)
        ring.append(content)
        found = ring.read(place)
        assert found is not None
        events, place = found
        assert events == [content]
    assert ring.read(place) == ([], place)


def test_a_reader_that_was_overtaken_knows_it() -> None:
    ring = WorkersRing(100)
    place = ring.end
    for _ in range(5):
        ring.append(bytes(20))
    assert ring.read(place) is None
    with pytest.raises(ValueError, match="larger"):
        ring.append(bytes(100))


async def test_a_worker_gets_its_own_events_and_resynchronises_if_it_was_overtaken() -> None:
    bus, consumer = WorkersBus(WorkersRing(1000)), Consumer()
    await bus.start(consumer)
    assert await bus.publish(Event(("a",), code="c", date="d", source="s", taken_at=1.5), wait=True)
    assert consumer.events == [Event(("a",), code="c", date="d", source="s", taken_at=1.5)]
    for number in range(100):
        assert await bus.publish(Event((f"thread-{number}",)))
    await until(lambda: consumer.gaps == ["overtaken"])
    assert await bus.publish(Event(("b",)), wait=True)
    assert consumer.events[-1] == Event(("b",))
    await bus.aclose()


def _work(ring: WorkersRing, ready: Any, stop: Any, seen: Any) -> None:
    """Run a worker that reports what it has applied, until it is stopped."""

    async def run() -> None:
        bus, consumer = WorkersBus(ring), Consumer()
        await bus.start(consumer)
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.005)
            seen.value = len(consumer.events)
        await bus.aclose()

    asyncio.run(run())


@pytest.mark.slow  # processes
async def test_a_write_waits_for_every_live_worker_and_for_no_dead_one() -> None:
    context = multiprocessing.get_context("spawn")
    ring, stop = WorkersRing(), context.Event()
    counts = [context.Value("i", 0) for _ in range(2)]
    workers = []
    for count in counts:
        ready = context.Event()
        worker = context.Process(target=_work, args=(ring, ready, stop, count))
        worker.start()
        workers.append(worker)
        assert await asyncio.to_thread(ready.wait, 60)
    bus, consumer = WorkersBus(ring), Consumer()
    await bus.start(consumer)
    assert await bus.publish(Event(("a",)), wait=True)
    assert consumer.events == [Event(("a",))]
    await until(lambda: [count.value for count in counts] == [1, 1])
    workers[0].kill()
    await asyncio.to_thread(workers[0].join)
    assert await bus.publish(Event(("b",)), wait=True)
    assert ring.is_applied(ring.end, 3), "the dead worker is not waited for"
    stop.set()
    await asyncio.to_thread(workers[1].join)
    await bus.aclose()


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
async def test_a_reader_goes_on_after_any_failure(redis: RedisServer, raises: bool) -> None:
    consumer = Failing(raises=raises)
    async with reading(redis, consumer) as (bus, _):
        await flush(redis)
        await until(lambda: consumer.gaps.count("redis") == 2)
        assert consumer.gaps == ["place gone", "lost", "redis", "lost", "redis"]
        assert await bus.publish(Event(("a",)), wait=True)
        assert consumer.events == [Event(("a",))]


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
        assert counts["redis_failures: events"] >= consumer.gaps.count("lost") + 2


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
        watching = await other.open("subscription { threadChanges { threadId source } }")
        await one.changes.announce("t")
        assert await data(watching) == {"threadId": "t", "source": "gateway"}


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
