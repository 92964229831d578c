"""Cooperative scheduling: an operation with much to do works for two milliseconds at a time.

msgspec holds the interpreter lock while it works, so that a thread would not help. So the work is divided: large REST
bodies are inspected and decoded piece by piece, and the reference executor gets the items of lists one by one. A task
that only sleeps for a moment is not enough: the event loop runs all tasks that are ready before it looks at its
sockets, and one operation can have a thousand of them. So the tasks of an operation share one `Pace`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""The size from which a REST body is processed cooperatively. A smaller one takes a few milliseconds."""

YIELD_BYTES = 128 * 1024
"""How many bytes are decoded between two yields, about."""

SLICE_SECONDS = 0.002
"""How long an operation works before other operations have their turn."""


class Pace:
    """The slices of time in which the tasks of one operation work: at most one in each turn of the event loop.

    The task that came last goes first. So a task that has begun ends before others begin, and what a thousand of them
    need in the meantime is not in memory all at once.
    """

    __slots__ = ("_began", "_is_open", "_seconds", "_waiting", "loop")

    def __init__(self, slice_seconds: float = SLICE_SECONDS) -> None:
        self._seconds = slice_seconds
        self.loop = asyncio.get_running_loop()
        """The event loop of the operation."""
        self._waiting: list[asyncio.Future[None]] = []
        self._is_open = False
        self._began = 0.0

    async def turn(self) -> None:
        """Return if the current slice has time left. Otherwise wait for one."""
        while self._is_over():
            waiting = self.loop.create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                self._close()  # it may have been this task's turn
                raise

    def _is_over(self) -> bool:
        if self._is_open:
            return time.perf_counter() - self._began >= self._seconds
        self._is_open = True
        self._began = time.perf_counter()
        self.loop.call_soon(self._close)
        return False

    def _close(self) -> None:
        """End the slice: the event loop has begun another turn. Wake up the task whose turn it is."""
        self._is_open = False
        while self._waiting:
            waiting = self._waiting.pop()
            if not waiting.done():
                waiting.set_result(None)
                return


async def run_cooperatively(work: Generator[None, None, T], pace: Pace) -> T:
    """Return the result of ``work``. At its yields, other tasks run when the slice is over."""
    while True:
        await pace.turn()
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


async def iterate_cooperatively(
    items: Callable[[], Iterable[Any]], pace: Pace, change: Callable[[Any], Any] | None = None
) -> AsyncIterator[Any]:
    """Yield each of the ``items``, changed by ``change``. Other tasks run when the slice is over."""
    await pace.turn()
    for item in items():
        yield item if change is None else change(item)
        await pace.turn()
