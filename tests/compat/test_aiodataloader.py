"""Canary of gateway/compat/aiodataloader.py: after an upgrade, it names the borrowed behaviour that is gone."""

import asyncio

from aiodataloader import DataLoader

from gateway.compat.aiodataloader import UndispatchedLoader


class Loader(UndispatchedLoader[str, str]):
    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
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


async def test_a_loader_has_what_aiodataloader_sets() -> None:
    """If it fails, ``DataLoader.__init__`` sets something else."""

    async def load(keys: list[str]) -> list[str]:
        return keys

    loop = asyncio.get_running_loop()
    theirs = vars(DataLoader(load, get_cache_key=str, loop=loop))
    ours = vars(UndispatchedLoader(loop))
    assert theirs.keys() - ours.keys() == {"batch_load_fn", "get_cache_key"}  # methods of ours
    assert {name: theirs[name] for name in ours} == ours
