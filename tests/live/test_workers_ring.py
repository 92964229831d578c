"""The ring of the workers of one program: who gets which event, and who is waited for."""

import asyncio
import multiprocessing
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

from gateway.events import Event
from gateway.events.workers import WorkersBus, WorkersRing
from tests.live.test_bus import Consumer, until


def test_a_ring_is_read_from_any_place_also_around_its_end() -> None:
    ring = WorkersRing(100)
    place = ring.end
    for number in range(200):
        contents = [bytes([65 + number % 26]) * (number % 40), b"", b"the second but one"][: 1 + number % 3]
        for content in contents:
            ring.append(content)
        found = ring.read(place)
        assert found is not None
        events, place = found
        assert events == contents
    assert ring.read(place) == ([], place)


def test_a_ring_can_be_filled_to_its_last_byte() -> None:
    ring = WorkersRing(100)
    place = ring.end
    ring.append(b"x" * 96)
    assert ring.read(place) == ([b"x" * 96], ring.end)


def test_an_event_is_applied_when_the_worker_has_moved_behind_it() -> None:
    ring = WorkersRing()
    slot = ring.claim()
    place = ring.append(b"x")
    assert not ring.is_applied(place, slot)
    ring.moved(slot, place)
    assert ring.is_applied(place, slot)


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


def _claim(ring: WorkersRing, claimed: Connection) -> None:
    """Hold a slot, and apply nothing, until the process is killed."""
    claimed.send(ring.claim())
    threading.Event().wait()


@pytest.mark.slow  # processes
def test_a_slot_belongs_to_one_worker_until_its_process_ends() -> None:
    context = multiprocessing.get_context("spawn")
    ring, workers = WorkersRing(), {}

    def begun() -> int:
        claimed, claims = context.Pipe(duplex=False)
        worker = context.Process(target=_claim, args=(ring, claims), daemon=True)
        worker.start()
        assert claimed.poll(60)
        slot: int = claimed.recv()
        workers[slot] = worker
        return slot

    def killed(slot: int) -> None:
        workers[slot].kill()
        workers[slot].join()

    assert [begun(), begun(), ring.claim()] == [1, 2, 3]
    place = ring.append(b"x")
    ring.moved(3, place)
    assert not ring.is_applied(place, 3)
    ring.moved(1, place)
    assert not ring.is_applied(place, 3), "the first worker has applied it, the second has not"
    killed(2)
    assert ring.is_applied(place, 3), "a dead worker is not waited for"
    assert [begun(), begun()] == [2, 4], "its slot is free, and no other"
    ring.append(b"y")
    assert not ring.is_applied(ring.end, 0)
    for slot in list(workers):
        killed(slot)


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
