# ruff: noqa: T201 - a benchmark prints
"""Measure the gateway with plans, without, and a plain application; see `README.md` in this directory."""

import argparse
import statistics
from contextlib import ExitStack

from tests.bench import long_runs
from tests.bench.load import CONNECTIONS, Measured, ask, measure
from tests.bench.processes import Process, baseline, gateway, upstream
from tests.bench.shapes import SHAPES, Shape

Rounds = dict[tuple[str, str], list[Measured]]

PLANS_ON, PLANS_OFF, BASELINE = "plans on", "plans off", "baseline"
BARS = {("small", BASELINE): 10, ("nested", BASELINE): 13, ("big", BASELINE): 24}
BARS |= {("nested", PLANS_OFF): 2, ("big", PLANS_OFF): 10}


def compare(rounds: int, seconds: int, only: str) -> None:
    """Let all servers and shapes take turns, several times, and report."""
    shapes = [shape for shape in SHAPES if only in shape.name]
    with ExitStack() as stack:
        api = stack.enter_context(upstream({shape.name: shape.document for shape in shapes}))
        servers = [
            stack.enter_context(gateway(api.url, PLANS_ON)),
            stack.enter_context(gateway(api.url, PLANS_OFF, GATEWAY_PLANS="false")),
            stack.enter_context(baseline(api.url)),
        ]
        print(f"upstream: {api.name}; {CONNECTIONS} connections; {rounds} rounds of {seconds} s")
        for shape in shapes:
            _same_answers(servers, shape)
        measured: Rounds = {}
        for number in range(rounds + 1):
            for shape in shapes:
                for server in servers:
                    result = measure(server, shape.request(), seconds if number else 1)
                    if number:  # the first round only warms up
                        measured.setdefault((shape.name, server.name), []).append(result)
        _report(servers, shapes, measured)


def _same_answers(servers: list[Process], shape: Shape) -> None:
    answers = {server.name: ask(server.url, shape.request()) for server in servers}
    if answers[PLANS_ON] != answers[PLANS_OFF] or b'"errors"' in answers[PLANS_ON] + answers[BASELINE]:
        raise SystemExit(f"{shape.name}: the answers differ: {answers}")
    print(f"{shape.name}: {len(shape.document)} bytes upstream, {len(answers[PLANS_ON])} bytes answered")


def _report(servers: list[Process], shapes: list[Shape], measured: Rounds) -> None:
    print(f"\n{'':20}{'req/s':>8}{'slowest..fastest':>18}{'p50 ms':>8}{'p99 ms':>8}{'p99/p50':>9}{'CPU us':>8}")
    for shape in shapes:
        for server in servers:
            results = measured[shape.name, server.name]
            rates = [each.rate for each in results]
            p50, p99, cpu = (
                statistics.median(getattr(each, name) for each in results) for name in ("p50", "p99", "cpu")
            )
            spread = f"{min(rates):.0f}..{max(rates):.0f}"
            print(
                f"{shape.name:8}{server.name:12}{statistics.median(rates):8.0f}{spread:>18}"
                f"{p50:8.2f}{p99:8.2f}{p99 / p50:9.1f}{cpu:8.0f}"
            )
    print("\nmemory, MiB: " + ", ".join(f"{server.name} {server.memory:.0f}" for server in servers))
    print("first answer, s: " + ", ".join(f"{server.name} {server.first_answer:.2f}" for server in servers))
    print(f"\n{'ratio of plans on to':20}{'':8}{'median':>8}{'lowest..highest':>18}{'of CPU':>8}{'bar':>6}")
    for (name, other), bar in BARS.items():
        if name in {shape.name for shape in shapes}:
            pairs = zip(measured[name, PLANS_ON], measured[name, other], strict=True)
            ratios = [mine.rate / theirs.rate for mine, theirs in pairs]
            spread = f"{min(ratios):.1f}..{max(ratios):.1f}"
            cpu = [statistics.median(each.cpu for each in measured[name, which]) for which in (other, PLANS_ON)]
            print(f"{name:8}{other:20}{statistics.median(ratios):8.1f}{spread:>18}{cpu[0] / cpu[1]:8.1f}{bar:>6}")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="per server, shape and round")
    parser.add_argument("--only", default="", help="only the shapes whose name contains this")
    parser.add_argument("--memory", action="store_true", help="instead: does memory grow over many requests?")
    parser.add_argument("--requests", type=int, default=200_000, help="how many of them")
    parser.add_argument("--blocking", action="store_true", help="instead: does a 10 MB document hold up the others?")
    options = parser.parse_args()
    if options.memory:
        long_runs.memory(options.requests)
    elif options.blocking:
        long_runs.blocking()
    else:
        compare(options.rounds, options.seconds, options.only)


if __name__ == "__main__":
    main()
