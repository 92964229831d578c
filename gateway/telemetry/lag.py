"""Measures how late the event loop is: what blocks it delays every request at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

INTERVAL = 0.25
"""Seconds between two looks."""

LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The bounds of the buckets for the lag, in seconds."""


@contextlib.asynccontextmanager
async def watched_loop(observe: Callable[[float], None], interval: float = INTERVAL) -> AsyncIterator[None]:
    """Report to ``observe``, every ``interval`` seconds, how much later than that the loop came round."""
    watch = asyncio.create_task(_watch(observe, interval), name="event-loop-lag")
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch(observe: Callable[[float], None], interval: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, loop.time() - due))
