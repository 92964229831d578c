"""The dataloaders: what is shared inside an operation, and what happens to it when somebody leaves."""

import asyncio

import pytest

from gateway.errors import UpstreamError
from gateway.schema.resolvers.loaders import RestLoader


class Upstream:
    """Answers keys when it is told to, and remembers what it was asked and what was given up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.given_up: list[str] = []
        self.answer = asyncio.Event()
        self.changed = asyncio.Condition()

    async def fetch(self, key: str) -> bytes | None:
        await self._note(self.asked, key)
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            await self._note(self.given_up, key)
            raise
        if key == "broken":
            raise UpstreamError
        return None if key == "gone" else key.encode()

    async def _note(self, where: list[str], key: str) -> None:
        where.append(key)
        async with self.changed:
            self.changed.notify_all()

    async def until(self, where: list[str], count: int) -> None:
        """Wait until ``count`` keys stand in ``where``."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(where) >= count)


async def test_one_awaiter_that_is_cancelled_does_not_disturb_the_others() -> None:
    upstream = Upstream()
    loader: RestLoader[str] = RestLoader(upstream.fetch)
    leaver, stayer = asyncio.create_task(loader.load("a")), asyncio.create_task(loader.load("a"))
    await upstream.until(upstream.asked, 1)
    leaver.cancel()
    upstream.answer.set()
    document = await stayer
    assert document is not None
    assert document.content == b"a"
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert await loader.load("a") is document, "a later load of the key is served as well"
    assert upstream.asked == ["a"]


async def test_each_key_has_its_own_outcome() -> None:
    upstream = Upstream()
    upstream.answer.set()
    loader: RestLoader[str] = RestLoader(upstream.fetch)
    keys = ("a", "broken", "gone", "a")
    first, broken, gone, again = await asyncio.gather(*map(loader.load, keys), return_exceptions=True)
    assert first is again
    assert isinstance(broken, UpstreamError)
    assert gone is None
    assert upstream.asked == ["a", "broken", "gone"]


async def test_a_failure_is_remembered_within_the_operation() -> None:
    upstream = Upstream()
    upstream.answer.set()
    loader: RestLoader[str] = RestLoader(upstream.fetch)
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await loader.load("broken")
    assert upstream.asked == ["broken"]


async def test_calls_of_an_operation_that_is_over_are_given_up() -> None:
    upstream = Upstream()
    loader: RestLoader[str] = RestLoader(upstream.fetch)
    waiting = [asyncio.create_task(loader.load(key)) for key in ("a", "b")]
    await upstream.until(upstream.asked, 2)
    for task in waiting:
        task.cancel()
    loader.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await upstream.until(upstream.given_up, 2)
    assert sorted(upstream.given_up) == ["a", "b"]
