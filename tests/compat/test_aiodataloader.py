"""Canary of gateway/compat/aiodataloader.py: after an upgrade, it names the borrowed behaviour that is gone."""

import asyncio

from gateway.compat.aiodataloader import UndispatchedLoader


class Loader(UndispatchedLoader[str, str]):
    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.begun: list[str] = []

    def begin(self, key: str, outcome: "asyncio.Future[str]") -> None:
        self.begun.append(key)
        outcome.set_result(key.upper())


async def test_each_key_is_begun_once_at_once_and_without_a_task() -> None:
    """If it fails, aiodataloader does not leave the dispatch to ``do_resolve_reject`` any more."""
    loader = Loader()
    loaded = [loader.load(key) for key in ("a", "b", "a")]
    assert loader.begun == ["a", "b"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await asyncio.gather(*loaded) == ["A", "B", "A"]
