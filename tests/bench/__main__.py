# ruff: noqa: T201 - a benchmark prints
"""Measure the gateway beside a Node server and a plain application; see `README.md` in this directory."""

import argparse

from tests.bench import long_runs
from tests.bench.comparison import NODE, PLANS_ON, STARTS, compare
from tests.bench.processes import why_no_node


def _names(chosen: str) -> list[str]:
    names = [each.strip() for each in chosen.split(",")] if chosen else list(STARTS)
    unknown = [each for each in names if each not in STARTS]
    if unknown:
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are: {', '.join(STARTS)}")
    reason = why_no_node()
    if NODE in names and reason is not None:
        print(f"the Node server is left out: {reason}")
        names.remove(NODE)
    return names if PLANS_ON in names else [PLANS_ON, *names]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, help="per server, shape and round: 3, or 15 with --log")
    parser.add_argument("--only", default="", help="only the shapes whose name contains this")
    parser.add_argument("--servers", default="", help=f"only these, with commas between: {', '.join(STARTS)}")
    parser.add_argument("--connections", action="store_true", help="instead: what do 256 connections cost?")
    parser.add_argument("--memory", action="store_true", help="instead: does memory grow over many requests?")
    parser.add_argument("--requests", type=int, default=200_000, help="how many of them")
    parser.add_argument("--blocking", action="store_true", help="instead: does a 10 MB document hold up the others?")
    parser.add_argument("--log", action="store_true", help="instead: what does a log line for each operation cost?")
    options = parser.parse_args()
    seconds = options.seconds or (15 if options.log else 3)
    if options.memory:
        long_runs.memory(options.requests)
    elif options.blocking:
        long_runs.blocking()
    elif options.log:
        long_runs.log(options.rounds, seconds)
    elif options.connections:
        long_runs.connections(options.rounds, seconds, _names(options.servers or f"{PLANS_ON},{NODE}"))
    else:
        compare(options.rounds, seconds, options.only, _names(options.servers))


if __name__ == "__main__":
    main()
