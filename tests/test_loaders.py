"""The dataloaders: what an operation shares, and what happens when one awaiter is cancelled."""

import asyncio

import pytest

from gateway.errors import UpstreamError
from gateway.schema.resolvers.cooperative import Pace
from gateway.schema.resolvers.loaders import Intake, RestLoader


class Upstream:
    """Answers all keys once ``answer`` is set, and records the requested keys and the cancelled ones."""

    def __init__(self) -> None:
        self.requested: list[str] = []
        self.cancelled: list[str] = []
        self.answer = asyncio.Event()
        self.changed = asyncio.Condition()

    async def fetch(self, key: str) -> bytes | None:
        await self._note(self.requested, key)
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            await self._note(self.cancelled, key)
            raise
        if key == "broken":
            raise UpstreamError
        return None if key == "gone" else key.encode()

    async def _note(self, where: list[str], key: str) -> None:
        where.append(key)
        async with self.changed:
            self.changed.notify_all()

    async def until(self, where: list[str], count: int) -> None:
        """Wait until ``where`` has ``count`` keys."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(where) >= count)


async def test_cancelling_one_awaiter_does_not_affect_the_others() -> None:
    upstream = Upstream()
    loader: RestLoader[str] = RestLoader(upstream.fetch, Intake(Pace()))
    cancelled, waiting = asyncio.create_task(loader.load("a")), asyncio.create_task(loader.load("a"))
    await upstream.until(upstream.requested, 1)
    cancelled.cancel()
    upstream.answer.set()
    body = await waiting
    assert body is not None
    assert body.content == b"a"
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await loader.load("a") is body, "a later load of the key gets the same body"
    assert upstream.requested == ["a"]


async def test_each_key_has_its_own_outcome() -> None:
    upstream = Upstream()
    upstream.answer.set()
    loader: RestLoader[str] = RestLoader(upstream.fetch, Intake(Pace()))
    keys = ("a", "broken", "gone", "a")
    first, broken, gone, again = await asyncio.gather(*map(loader.load, keys), return_exceptions=True)
    assert first is again
    assert isinstance(broken, UpstreamError)
    assert gone is None
    assert upstream.requested == ["a", "broken", "gone"]


async def test_a_failure_is_cached_within_the_operation() -> None:
    upstream = Upstream()
    upstream.answer.set()
    loader: RestLoader[str] = RestLoader(upstream.fetch, Intake(Pace()))
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await loader.load("broken")
    assert upstream.requested == ["broken"]


async def test_calls_of_a_finished_operation_are_cancelled() -> None:
    upstream = Upstream()
    loader: RestLoader[str] = RestLoader(upstream.fetch, Intake(Pace()))
    waiting = [asyncio.create_task(loader.load(key)) for key in ("a", "b")]
    await upstream.until(upstream.requested, 2)
    for task in waiting:
        task.cancel()
    loader.close()
    await asyncio.gather(*waiting, return_exceptions=True)
    await upstream.until(upstream.cancelled, 2)
    assert sorted(upstream.cancelled) == ["a", "b"]
