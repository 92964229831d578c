"""Canary of gateway/compat/aiodataloader.py: after an upgrade, it names the borrowed behaviour that is gone."""

import asyncio

from aiodataloader import DataLoader

from gateway.compat.aiodataloader import dispatch_task


class Loader(DataLoader[str, str]):
    batch = False

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.tasks: list[asyncio.Task[None] | None] = []

    async def batch_load_fn(self, keys: list[str]) -> list[str]:
        self.tasks.append(dispatch_task())
        return keys


async def test_each_dispatch_runs_in_a_task_of_its_own() -> None:
    loader = Loader()
    await asyncio.gather(loader.load("a"), loader.load("b"))
    tasks = {*loader.tasks, asyncio.current_task()}
    assert len(tasks) == 3, "aiodataloader does not run each dispatch in a task of its own any more"
