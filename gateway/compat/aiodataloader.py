"""What the loaders use of aiodataloader's undocumented behaviour: its attributes, and what decides when it loads.

Apart, so that an upgrade is checked in one place. Canary: tests/compat/test_aiodataloader.py.
"""

import asyncio
from typing import Generic, TypeVar

from aiodataloader import DataLoader

KeyT = TypeVar("KeyT")
ResultT = TypeVar("ResultT")


class UndispatchedLoader(DataLoader[KeyT, ResultT], Generic[KeyT, ResultT]):
    """A DataLoader that begins what it loads at once, for each key alone.

    aiodataloader would run each dispatch in a task of its own, beside the one in which the REST call runs anyway.
    `DataLoader.__init__` inspects ``batch_load_fn`` in ten calls; this one sets what it sets.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._cache = {}
        self._queue = []

    def do_resolve_reject(self, key: KeyT, future: "asyncio.Future[ResultT]") -> None:
        """Begin to load a key that is not in the cache."""
        self.begin(key, future)

    def get_cache_key(self, key: KeyT) -> KeyT:
        """Return the key itself."""
        return key

    def begin(self, key: KeyT, outcome: "asyncio.Future[ResultT]") -> None:
        """Begin to load a key; its result is set in ``outcome``."""
        raise NotImplementedError

    async def batch_load_fn(self, keys: list[KeyT]) -> list[ResultT]:
        """Never called: there are no batches."""
        raise NotImplementedError
