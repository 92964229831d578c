# ruff: noqa: T201 - a benchmark prints
"""Lets servers answer the same requests in turns, and compares them."""

import json
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from operator import attrgetter
from statistics import fmean, median

from tests.bench.load import CONNECTIONS, Measured, ask, measure
from tests.bench.processes import Process, Start, baseline, gateway, node, upstream
from tests.bench.shapes import SHAPES, Shape

Rounds = dict[tuple[str, str], list[Measured]]
"""By shape and server, what was measured in each round."""

PLANS_ON, CACHED, PLANS_OFF, BASELINE, NODE = "plans on", "cached", "plans off", "baseline", "node"
UNSAMPLED = "unsampled"
MOST_MIB = 110
"""The bar of the gateway's resident memory after all rounds."""

STARTS: dict[str, Start] = {
    PLANS_ON: gateway(),
    CACHED: gateway(GATEWAY_CACHE_URL="memory://", GATEWAY_CACHE_TTL_THREAD="3600"),
    UNSAMPLED: gateway(GATEWAY_DRIFT_SAMPLE="0"),
    PLANS_OFF: gateway(GATEWAY_PLANS="false"),
    BASELINE: baseline,
    NODE: node,
}
"""The servers, in the order of the first round."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How ``server`` has to compare with ``other``: the median, over the rounds, of the ratio within a round."""

    shape: str
    server: str
    other: str
    bar: float
    measure: str = "rate"

    @property
    def better(self) -> str:
        """Whether the ratio has to be large or small."""
        return ">=" if self.measure == "rate" else "<="

    def reached(self, ratio: float) -> bool:
        """Whether a ratio is as it has to be."""
        return ratio >= self.bar if self.measure == "rate" else ratio <= self.bar


BARS = (
    Bar("small", PLANS_ON, NODE, 1.0),
    Bar("nested", PLANS_ON, NODE, 1.0),
    Bar("big", PLANS_ON, NODE, 1.4),
    Bar("nested", PLANS_ON, NODE, 0.5, "p99"),
    Bar("small", CACHED, PLANS_ON, 1.5),
    Bar("big", CACHED, PLANS_ON, 3),
    *(Bar(shape, PLANS_ON, UNSAMPLED, 0.99) for shape in ("small", "nested", "big")),
    Bar("small", PLANS_ON, BASELINE, 10),
    Bar("nested", PLANS_ON, BASELINE, 13),
    Bar("big", PLANS_ON, BASELINE, 24),
    Bar("nested", PLANS_ON, PLANS_OFF, 2),
    Bar("big", PLANS_ON, PLANS_OFF, 10),
)


def compare(rounds: int, seconds: int, only: str, names: Sequence[str]) -> None:
    """Let the named servers take turns with all shapes, several times, and report."""
    shapes = [shape for shape in SHAPES if only in shape.name]
    with ExitStack() as stack:
        api = stack.enter_context(upstream({shape.name: shape.document for shape in shapes}))
        servers = [stack.enter_context(STARTS[name](api.url, name)) for name in names]
        print(f"Python {platform.python_version()}, {sys.executable}")
        print(f"upstream: {api.name}; {CONNECTIONS} connections; {rounds} rounds of {seconds} s")
        for shape in shapes:
            _require_same_answers(servers, shape)
        measured: Rounds = {}
        for number in range(rounds + 1):
            for shape in shapes:
                found = _round(servers, shape, number, seconds if number else 1)
                if number:  # the first round only warms up
                    for name, result in found.items():
                        measured.setdefault((shape.name, name), []).append(result)
        _report(servers, [shape.name for shape in shapes], measured)


def _round(servers: Sequence[Process], shape: Shape, number: int, seconds: int) -> dict[str, Measured]:
    """Measure each server for so many seconds, in turns of one: the machine's speed changes from second to second."""
    found: dict[str, list[Measured]] = {server.name: [] for server in servers}
    for turn in range(seconds):
        for server in _in_order_of(number + turn, servers):
            found[server.name].append(measure(server, shape.request(), 1))
    return {
        name: Measured(*(fmean(each) for each in zip(*map(astuple, turns), strict=True)))
        for name, turns in found.items()
    }


def _in_order_of(number: int, servers: Sequence[Process]) -> list[Process]:
    """Return the servers in another order for each turn, so that none always follows the same one."""
    begin = number % len(servers)
    turned = [*servers[begin:], *servers[:begin]]
    return turned[::-1] if number % 2 else turned


def _require_same_answers(servers: Iterable[Process], shape: Shape) -> None:
    answers = {server.name: ask(server.url, shape.request()) for server in servers}
    first = next(iter(answers.values()))
    for name, answer in answers.items():
        if b'"errors"' in answer or json.loads(answer) != json.loads(first):
            raise SystemExit(f"{shape.name}: the answer of {name} is another one: {answer!r}, not {first!r}")
    print(f"{shape.name}: {len(shape.document)} bytes upstream, {len(first)} bytes answered")


def _report(servers: Sequence[Process], shapes: Sequence[str], measured: Rounds) -> None:
    print(f"\n{'':20}{'req/s':>8}{'slowest..fastest':>18}{'p50 ms':>8}{'p99 ms':>8}{'p99/p50':>9}{'CPU us':>8}")
    for shape in shapes:
        for server in servers:
            _report_server(shape, server.name, measured[shape, server.name])
    memory = {server.name: server.memory for server in servers}
    print("\nmemory, MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()))
    print("first answer, s: " + ", ".join(f"{server.name} {server.first_answer:.2f}" for server in servers))
    print(f"\n{'':38}{'median':>8}{'lowest..highest':>18}{'of CPU':>8}{'bar':>9}")
    for bar in BARS:
        if (bar.shape, bar.server) in measured and (bar.shape, bar.other) in measured:
            _report_bar(bar, measured)
    if PLANS_ON in memory:
        reached = "" if memory[PLANS_ON] <= MOST_MIB else "  missed"
        print(f"{'memory of plans on, MiB':38}{memory[PLANS_ON]:8.0f}{'':26}{'<=':>5} {MOST_MIB:<3}{reached}")


def _report_server(shape: str, name: str, results: Sequence[Measured]) -> None:
    rate, p50, p99, cpu = (_median(results, attrgetter(each)) for each in ("rate", "p50", "p99", "cpu"))
    rates = [each.rate for each in results]
    spread = f"{min(rates):.0f}..{max(rates):.0f}"
    print(f"{shape:8}{name:12}{rate:8.0f}{spread:>18}{p50:8.2f}{p99:8.2f}{p99 / p50:9.1f}{cpu:8.0f}")


def _report_bar(bar: Bar, measured: Rounds) -> None:
    mine, theirs = measured[bar.shape, bar.server], measured[bar.shape, bar.other]
    of = attrgetter(bar.measure)
    ratios = [of(one) / of(other) for one, other in zip(mine, theirs, strict=True)]
    ratio = median(ratios)
    cpu = _median(theirs, attrgetter("cpu")) / _median(mine, attrgetter("cpu"))
    what = f"{bar.shape:7} {bar.measure:4} {bar.server} / {bar.other}"
    spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
    reached = "" if bar.reached(ratio) else "  missed"
    print(f"{what:38}{ratio:8.2f}{spread:>18}{cpu:8.2f}{bar.better:>5} {bar.bar:<3g}{reached}")


def _median(results: Iterable[Measured], of: Callable[[Measured], float]) -> float:
    return median(map(of, results))
