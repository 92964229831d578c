"""Named gates that hold requests until they are opened, from any thread.

An opened gate stays open until it is closed again. So a test can release a request that has arrived but has not reached
its gate yet: the release cannot be lost.

On its own: gates bridge threads and event loops, which faults know nothing of.
"""

import asyncio
import threading
from typing import TypeAlias

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Gates:
    """Gates by name. Opening an unknown name is an error, because it is probably a typing error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[str, list[_Waiter]] = {}
        self._open: set[str] = set()

    def close(self, name: str) -> None:
        """Make requests wait at the gate from now on."""
        with self._lock:
            self._waiters.setdefault(name, [])
            self._open.discard(name)

    def open(self, name: str) -> None:
        """Release all requests at the gate, and those that reach it later.

        Raises `KeyError`: no fault has ever held requests under this name.
        """
        with self._lock:
            if name not in self._waiters:
                raise KeyError(f"nothing is held under {name!r}; known: {sorted(self._waiters)}")
            self._open.add(name)
            waiters, self._waiters[name] = self._waiters[name], []
        for loop, future in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)

    def open_all(self) -> None:
        """Open every gate."""
        for name in list(self._waiters):
            self.open(name)

    async def wait(self, name: str) -> None:
        """Wait until the gate is open."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if name in self._open:
                return
            self._waiters.setdefault(name, []).append((loop, future))
        await future


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():  # its request may have been cancelled in the meantime
        future.set_result(None)
