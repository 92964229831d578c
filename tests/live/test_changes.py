"""What an event does in one process, in which order, and how often everything is purged."""

import asyncio
from collections.abc import Iterable

import pytest

from gateway.events import Event
from gateway.events.bus import LocalBus
from gateway.events.changes import Changes, event_metrics
from gateway.telemetry import Counts

EVENT = Event(("t",), ("c",))


class World:
    """A cache and subscribers that note what is called; ``accepts`` is whether the cache takes a purge."""

    def __init__(self, *, accepts: bool = True, fails: bool = False) -> None:
        self.calls: list[str] = []
        self.accepts = accepts
        self.fails = fails

    async def shared(self, subjects: Iterable[str]) -> bool:
        self.calls.append(f"shared {' '.join(subjects)}")
        return self.accepts

    async def own(self, subjects: Iterable[str]) -> None:
        self.calls.append(f"own {' '.join(subjects)}")

    def suspend(self) -> None:
        self.calls.append("suspend")

    async def everything(self) -> bool:
        self.calls.append("everything")
        return self.accepts

    async def apply(self, _event: Event) -> None:
        self.calls.append("apply")
        if self.fails:
            raise RuntimeError("a subscriber")

    async def resynchronise(self) -> None:
        self.calls.append("resynchronise")


async def changes(world: World, pause: float = 3600) -> Changes:
    built = Changes(LocalBus(), world, world, counts=Counts(), now=lambda: 0.0, pause=pause)
    await built.start()
    return built


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_event_purges_what_is_shared_before_it_is_published() -> None:
    world = World()
    assert await (await changes(world)).publish(EVENT)
    assert world.calls == ["shared thread:t customer:c", "own thread:t customer:c", "apply"]


async def test_an_event_is_not_published_where_the_purge_is_not_accepted() -> None:
    """Who reads on it could find the old entry. Its sender repeats it."""
    world = World(accepts=False)
    assert not await (await changes(world)).publish(EVENT)
    assert world.calls == ["shared thread:t customer:c", "own thread:t customer:c"]


async def test_an_event_that_cannot_be_applied_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(fails=True)
    built = await changes(world)
    await built.apply(EVENT)
    await built.apply(EVENT)
    assert world.calls == ["own thread:t customer:c", "apply"] * 2
    assert [record.getMessage() for record in caplog.records] == ["an event could not be applied"] * 2
    assert all(record.exc_info for record in caplog.records)


async def test_everything_is_purged_at_once_and_then_not_before_the_pause_is_over() -> None:
    world = World()
    built = await changes(world)
    for _ in range(3):
        for _ in range(10):
            await built.apply(Event(everything=True))
        await settled()
        assert world.calls == ["everything", "resynchronise"]
    await built.aclose()
    await settled()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "purge-everything"] == []


async def test_everything_is_purged_again_when_the_pause_is_over() -> None:
    world = World()
    built = await changes(world, pause=0.01)
    for _ in range(2):
        await built.apply(Event(everything=True))
        await settled()
    async with asyncio.timeout(20):
        while world.calls != ["everything", "resynchronise"] * 2:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    await built.aclose()


async def test_what_was_applied_is_counted_and_what_was_missed_by_reason(caplog: pytest.LogCaptureFixture) -> None:
    world, counts = World(), Counts()
    built = Changes(LocalBus(), world, world, counts=counts, now=lambda: 0.0)
    await built.lose()
    assert await built.resynchronise("redis")
    assert world.calls == ["suspend", "everything", "resynchronise"]
    assert await built.resynchronise("redis")
    assert {record.getMessage() for record in caplog.records} == {
        "events may have been missed (redis): everything is purged and read again"
    }
    for _ in range(3):
        await built.apply(EVENT)
    applied, gaps = event_metrics(counts)
    assert [(each.name, each.value) for each in applied.samples] == [("gochat_gateway_events_applied_total", 3)]
    assert {(each.name, each.labels["reason"]): each.value for each in gaps.samples} == {
        ("gochat_gateway_event_gaps_total", reason): number
        for reason, number in {"overtaken": 0, "place gone": 0, "redis": 2}.items()
    }


class NotingBus(LocalBus):
    """Notes who waits until an event is applied everywhere; ``has`` is whether it takes events."""

    def __init__(self, *, has: bool = True) -> None:
        super().__init__()
        self.waits: list[bool] = []
        self._has = has

    async def publish(self, event: Event, *, wait: bool = False) -> bool:
        self.waits.append(wait)
        return self._has and await super().publish(event)


@pytest.mark.parametrize("has", [True, False], ids=["a bus", "a bus that takes nothing"])
async def test_a_write_waits_until_every_process_has_applied_it_and_a_webhook_does_not(has: bool) -> None:
    """Who writes reads then, perhaps of another gateway. The vendor's webhook has a second."""
    world, bus = World(), NotingBus(has=has)
    built = Changes(bus, world, world, counts=Counts(), now=lambda: 0.0)
    await built.start()
    assert await built.publish(EVENT) is has
    world.calls.clear()
    await built.announce("t")
    assert bus.waits == [False, True]
    assert world.calls == ["shared thread:t", "own thread:t", "apply"], "its own process reads it in any case"
