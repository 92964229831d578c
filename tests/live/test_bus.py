"""The bus: every process gets every event, and one that missed some knows it."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.events import Event
from gateway.events.stream import RedisBus
from gateway.events.workers import WorkersBus, WorkersRing
from gateway.sandbox import Sandbox
from gateway.storage.shared import shared_by
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
    """Fails in a way that nobody foresees, the first time that it is resynchronised."""

    async def resynchronise(self, reason: str) -> bool:
        await super().resynchronise(reason)
        if self.gaps.count(reason) == 1:
            raise LookupError(reason)
        return True


async def test_a_reader_goes_on_after_any_failure(redis: RedisServer) -> None:
    cache = settings(cache_url=redis.url, cache_secret="sixteen or more letters").cache
    shared = shared_by(cache)
    assert shared.redis is not None
    bus, consumer = RedisBus(shared.redis, shared.counts), Failing()
    await bus.start(consumer)
    await flush(redis)
    await until(lambda: consumer.gaps.count("redis") == 2)
    assert consumer.gaps == ["place gone", "lost", "redis", "lost", "redis"]
    assert await bus.publish(Event(("a",)), wait=True)
    assert consumer.events == [Event(("a",))]
    await bus.aclose()
    await shared.aclose()


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
