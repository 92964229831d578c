"""Named gates that hold requests until somebody opens them, from any thread.

A gate stays open once it was opened, until it is closed anew. So a test may release a request that has been
counted as arrived but has not reached its gate yet: there is no moment at which the release can get lost.
"""

import asyncio
import threading
from typing import TypeAlias

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Gates:
    """Gates by name; unknown names are refused, since they are typing errors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[str, list[_Waiter]] = {}
        self._open: set[str] = set()

    def close(self, name: str) -> None:
        """Make requests that reach the gate wait, from now on."""
        with self._lock:
            self._waiters.setdefault(name, [])
            self._open.discard(name)

    def open(self, name: str) -> None:
        """Let all requests at the gate go on, and those that are still to come.

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
        """Let everything go on."""
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
    if not future.done():  # its request may have been cancelled meanwhile
        future.set_result(None)
