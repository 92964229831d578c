# ruff: noqa: T201 - a benchmark prints
"""Answer what one rate does not: memory over time, a large document beside small ones, many connections, the log."""

import asyncio
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from tests.bench.comparison import STARTS
from tests.bench.load import Measured, drive, head, measure, read_answer
from tests.bench.processes import Process, connected, gateway, switched, upstream
from tests.bench.shapes import BIG, NESTED, SMALL, Shape, thread
from tests.bench.switched import Slice

_DOCUMENTS = 5_000
_REPORTS = 10
_FEW, _SOME, _MANY = 16, 64, 256
_IDLE = 1_000
_LOG_BAR = 0.95
_LEAST_LOG_SECONDS = 3
_FIRST_SLICES, _LAST_SLICES = 10, 2  # while the server becomes warm, and while the client ends


def memory(requests: int) -> None:
    """Send many requests with rotating ids and 5,000 distinct documents; print the memory on the way."""
    bodies = _rotating()
    with upstream({"nested": NESTED.document}) as api, gateway(GATEWAY_LOG_LEVEL="info")(api.url, "logged") as server:
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
            gateway(GATEWAY_PLANS=plans)(api.url, name) as server,
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


def connections(rounds: int, seconds: int, names: Sequence[str]) -> None:
    """Print the rate of small requests by the number of connections, and the memory that an idle one takes."""
    measured: dict[tuple[str, int], list[Measured]] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream({"small": SMALL.document}))
        servers = [stack.enter_context(STARTS[name](api.url, name)) for name in names]
        for server in servers:
            measure(server, SMALL.request(), 1, _FEW)
        # First of all, since the memory of 256 busy connections would be used again for the idle ones.
        idle = {server.name: asyncio.run(_idle(server)) for server in servers}
        for number in range(rounds + 1):
            for server, count in itertools.product(servers, (_FEW, _SOME, _MANY)):
                result = measure(server, SMALL.request(), seconds if number else 1, count)
                if number:  # the first round only warms up
                    measured.setdefault((server.name, count), []).append(result)
        print(f"{'':12}" + "".join(f"{count:>14}" for count in (_FEW, _SOME, _MANY)) + f"{'ratio':>8}{'of CPU':>8}")
        for server in servers:
            _report_growth(server.name, [measured[server.name, count] for count in (_FEW, _SOME, _MANY)])
        for name, size in idle.items():
            print(f"{name}: {size:.1f} KiB for each of {_IDLE} idle connections")


def _report_growth(name: str, results: Sequence[Sequence[Measured]]) -> None:
    rates = [statistics.median(each.rate for each in rounds) for rounds in results]
    cpu = [statistics.median(each.cpu for each in rounds) for rounds in results]
    ratio = statistics.median(many.rate / few.rate for few, many in zip(results[0], results[-1], strict=True))
    shown = "".join(f"{rate:8.0f}/s{each:4.0f}" for rate, each in zip(rates, cpu, strict=True))
    print(f"{name:12}{shown}{ratio:8.2f}{cpu[0] / cpu[-1]:8.2f}")


async def _idle(server: Process) -> float:
    """Return what each of many connections adds to the server's memory, in KiB, after one request on each."""
    async with AsyncExitStack() as stack:
        before = server.memory
        for _ in range(_IDLE):
            reader, writer = await stack.enter_async_context(connected(server.url))
            writer.write(head(len(SMALL.request())) + SMALL.request())
            await read_answer(reader)
        return (server.memory - before) * 1024 / _IDLE


def log(rounds: int, seconds: int) -> None:
    """Print how the rate with a log line for each operation compares with that without, in one process.

    Each round starts another process, and takes at least 3 seconds.
    """
    if seconds < _LEAST_LOG_SECONDS:
        raise SystemExit(f"--log needs --seconds {_LEAST_LOG_SECONDS} or more: the first one only warms up")
    print(f"{'':8}{'rate':>7}{'lowest..highest':>18}{'us':>7}{'slices':>8}{'bar':>9}")
    for shape in (SMALL, NESTED):
        ratios, costs, pairs = zip(*(_log_round(shape, seconds) for _ in range(rounds)), strict=True)
        ratio = statistics.fmean(ratios)
        print(
            f"{shape.name:8}{ratio:7.3f}{f'{min(ratios):.3f}..{max(ratios):.3f}':>18}{statistics.fmean(costs):7.1f}"
            f"{2 * sum(pairs):8}{'>=':>5} {_LOG_BAR}{'' if ratio >= _LOG_BAR else '  missed'}",
            flush=True,
        )


def _log_round(shape: Shape, seconds: int) -> tuple[float, float, int]:
    """Return the ratio of the rates, the log's microseconds of each operation, and the number of pairs of slices."""
    pairs = _slices(shape, seconds)
    off, on = (_sum(each) for each in zip(*pairs, strict=True))
    cost = on.processor_seconds / on.requests - off.processor_seconds / off.requests
    return on.requests / on.seconds / (off.requests / off.seconds), cost * 1e6, len(pairs)


def _sum(slices: Sequence[Slice]) -> Slice:
    return Slice(
        slices[0].is_on,
        sum(each.requests for each in slices),
        sum(each.seconds for each in slices),
        sum(each.processor_seconds for each in slices),
    )


def _slices(shape: Shape, seconds: int) -> list[tuple[Slice, Slice]]:
    """Return slices of time without the log, each with one with it that came before or after it."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "slices.json")
        with upstream({shape.name: shape.document}) as api, switched(api.url, results) as server:
            measure(server, shape.request(), seconds)
        slices = [Slice(*each) for each in json.loads(results.read_text())]
    busy = [each for each in slices if each.requests][_FIRST_SLICES:-_LAST_SLICES]
    pairs = zip(busy[::2], busy[1::2], strict=False)
    return [(one, other) if other.is_on else (other, one) for one, other in pairs if one.is_on != other.is_on]
