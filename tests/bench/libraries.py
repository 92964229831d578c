# ruff: noqa: T201 - a benchmark prints
"""What libraries would cost in place of our own retry and memory store. See `README.md` in this directory."""

import argparse
import asyncio
import importlib
import itertools
import os
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop

from gateway.http1 import CallFailed, Response
from gateway.storage.memory import MemoryStore
from gateway.upstream.call import Call, RestRequest
from gateway.upstream.contract import THREAD
from gateway.upstream.transports.retry import Retry, RetryPolicy

VALUE = bytes(range(256)) * 16
KEYS = 1000

Way = Callable[[], Awaitable[object]]


class AtOnce:
    """Answers without a socket."""

    def __init__(self) -> None:
        self._answer = Response(200, {}, VALUE)

    async def send(self, request: RestRequest) -> Response:
        """Return the same answer each time."""
        del request
        return self._answer

    async def aclose(self) -> None:
        """Do nothing."""


def retries(request: RestRequest) -> dict[str, Way]:
    """One call that succeeds at once: what retrying costs where there is nothing to retry."""
    tenacity, stamina = importlib.import_module("tenacity"), importlib.import_module("stamina")
    bare = AtOnce()
    ours = Retry(bare, RetryPolicy())
    stop, wait = tenacity.stop_after_attempt(3), tenacity.wait_random_exponential(max=2)
    on = tenacity.retry_if_exception_type(CallFailed)

    async def with_tenacity() -> None:
        async for attempt in tenacity.AsyncRetrying(stop=stop, wait=wait, retry=on, reraise=True):
            with attempt:
                await bare.send(request)

    async def with_stamina() -> None:
        async for attempt in stamina.retry_context(on=CallFailed, attempts=3):
            with attempt:
                await bare.send(request)

    return {
        "retry: none": lambda: bare.send(request),
        "retry: ours, with its budget": lambda: ours.send(request),
        "retry: tenacity.AsyncRetrying": with_tenacity,
        "retry: stamina.retry_context": with_stamina,
    }


async def stores() -> dict[str, Way]:
    """One get and one set of 4 KB."""
    ours = MemoryStore(2**26)
    cashews = importlib.import_module("cashews").Cache()
    cashews.setup("mem://", size=10_000)
    await cashews.init()
    numbers = itertools.cycle(range(KEYS))
    for number in range(KEYS):
        await ours.set(f"key-{number}", VALUE, 60)
        await cashews.set(f"key-{number}", VALUE, expire=60)
    return {
        "get: ours": lambda: ours.get([f"key-{next(numbers)}"]),
        "get: cashews mem://": lambda: cashews.get(f"key-{next(numbers)}"),
        "set: ours": lambda: ours.set(f"key-{next(numbers)}", VALUE, 60),
        "set: cashews mem://": lambda: cashews.set(f"key-{next(numbers)}", VALUE, expire=60),
    }


async def _time(way: Way, seconds: float) -> float:
    started, calls = time.process_time(), 0
    while time.process_time() < started + seconds:
        for _ in range(50):
            await way()
        calls += 50
    return (time.process_time() - started) / calls


async def measure(rounds: int, seconds: float) -> None:
    """Let all ways take turns, several times, and print the medians."""
    call = Call(asyncio.get_running_loop().time() + 3600)
    ways = {**retries(RestRequest("GET", "/", route=THREAD, call=call)), **await stores()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            call.attempts = 0
            taken[name].append(await _time(way, seconds))
    print(f"{'':36}{'CPU us':>8}{'least..most':>14}")
    for name, each in taken.items():
        spread = f"{min(each) * 1e6:.1f}..{max(each) * 1e6:.1f}"
        print(f"{name:36}{statistics.median(each) * 1e6:8.1f}{spread:>14}")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="per way and round")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options.rounds, options.seconds))


if __name__ == "__main__":
    main()
