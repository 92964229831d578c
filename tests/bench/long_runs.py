# ruff: noqa: T201 - a benchmark prints
"""Answer what a rate does not: does memory grow, and does a large document hold up the others."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Iterator

from tests.bench.load import drive, head, read_answer
from tests.bench.processes import connected, gateway, upstream
from tests.bench.shapes import BIG, NESTED, SMALL, thread

_DOCUMENTS = 5_000
_REPORTS = 10


def memory(requests: int) -> None:
    """Send many requests with rotating ids and 5,000 distinct documents; print the memory on the way."""
    bodies = _rotating()
    with upstream({"nested": NESTED.document}) as api, gateway(api.url, "plans on") as server:
        print(f"{'requests':>10}{'MiB':>8}")
        print(f"{0:10}{server.memory:8.1f}")
        for report in range(1, _REPORTS + 1):
            left = itertools.repeat(None, requests // _REPORTS)
            asyncio.run(drive(server.url, bodies, lambda left=left: next(left, 0) is None))  # type: ignore[misc]  # bound here
            print(f"{report * requests // _REPORTS:10}{server.memory:8.1f}", flush=True)


def _rotating() -> Iterator[bytes]:
    for number in itertools.count():
        # One in twenty is rare: those push each other out of the document cache, and the others stay in it.
        which = number // 20 % _DOCUMENTS if number % 20 == 0 else number % 20
        query = NESTED.query.replace("Nested", f"Nested{which}")
        yield json.dumps({"query": query, "variables": {"id": f"thread-{number}"}}).encode()


def blocking() -> None:
    """Ask for small threads all the time, and meanwhile for a 10 MB one; print how long the small ones took."""
    huge = thread("huge", attachments=14_000, movements=5, customers=2_500)
    print(f"the large document: {len(huge) / 1e6:.1f} MB")
    for name, plans in (("plans on", "true"), ("plans off", "false")):
        with (
            upstream({"small": SMALL.document, "huge": huge}) as api,
            gateway(api.url, name, GATEWAY_PLANS=plans) as server,
        ):
            for fields, query in (("a few of its fields", SMALL.query), ("most of its fields", BIG.query)):
                body = json.dumps({"query": query, "variables": {"id": "huge"}}).encode()
                took, waits = asyncio.run(_meanwhile(server.url, body))
                print(
                    f"{name}, {fields}: answered in {statistics.median(took) * 1e3:.0f} ms; a small request meanwhile "
                    f"took {statistics.median(waits) * 1e3:.1f} ms, at most {max(waits) * 1e3:.1f} ms",
                    flush=True,
                )


async def _meanwhile(url: str, large: bytes) -> tuple[list[float], list[float]]:
    """Return the latencies of the large requests, and of the small ones beside them, in seconds."""
    took: list[float] = []
    waits: list[float] = []

    async def one(body: bytes) -> float:
        async with connected(url) as (reader, writer):
            started = time.perf_counter()
            writer.write(head(len(body)) + body)
            await read_answer(reader)
            return time.perf_counter() - started

    async def small_ones(done: asyncio.Event) -> None:
        while not done.is_set():
            waits.append(await one(SMALL.request()))
            await asyncio.sleep(0.001)

    await one(large)
    for _ in range(5):
        done = asyncio.Event()
        beside = asyncio.create_task(small_ones(done))
        took.append(await one(large))
        done.set()
        await beside
    return took, waits
