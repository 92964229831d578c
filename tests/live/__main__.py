"""What subscriptions promise, tried and measured with processes: `uv run python -m tests.live PROOF`.

It prints what was seen, and ends with 1 where a promise was broken. Times and memory are only shown.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.live.proofs import fan_out, freshness, idle, soak
from tests.programs import MODULE, Program, Start

Run = Callable[[argparse.Namespace, Start], list[str]]


def _freshness(options: argparse.Namespace, begin: Start) -> list[str]:
    report = freshness.prove(options.tries, options.restart_every, begin)
    _show(report)
    return report.older


def _fan_out(options: argparse.Namespace, begin: Start) -> list[str]:
    report = fan_out.measure(
        options.subscribers,
        options.credentials,
        options.events,
        begin,
        stalled=options.stalled,
        size=options.size,
    )
    _show(report)
    return report.broken()


def _idle(options: argparse.Namespace, begin: Start) -> list[str]:
    most = idle.most_sockets()
    if options.sockets > most:
        _show(f"the limit of open files allows {most} sockets: see `ulimit -Hn`")
    report = idle.measure(min(options.sockets, most), options.threads, begin)
    _show(report)
    return [f"{report.lost} sockets were lost"] if report.lost else []


def _soak(options: argparse.Namespace, begin: Start) -> list[str]:
    report = soak.soak(options.minutes, begin)
    _show(report)
    return report.broken


def _show(what: object) -> None:
    print(what, flush=True)  # noqa: T201 - the program's output


def main() -> None:
    """Run a proof."""
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    proofs = parser.add_subparsers(dest="proof", required=True, metavar="PROOF")

    def add(name: str, run: Run, what: str) -> argparse.ArgumentParser:
        proof = proofs.add_parser(name, help=what, description=what)
        proof.set_defaults(run=run)
        return proof

    fresh = add("freshness", _freshness, "No worker serves an older state after a webhook.")
    fresh.add_argument("--tries", type=int, default=30)
    fresh.add_argument("--restart-every", type=int, default=10, metavar="TRIES", help="how often Redis is restarted")
    fan = add("fan-out", _fan_out, "One event reaches many subscribers.")
    fan.add_argument("--subscribers", type=int, default=1000)
    fan.add_argument("--credentials", type=int, default=0, help="0: all use the gateway's own account")
    fan.add_argument("--events", type=int, default=20)
    fan.add_argument("--stalled", type=int, default=0, help="how many of the subscribers take nothing")
    fan.add_argument("--size", type=int, default=0, help="bytes that a result has more than it needs")
    still = add("idle", _idle, "What idle WebSockets take of the memory.")
    still.add_argument("--sockets", type=int, default=10_000)
    still.add_argument("--threads", type=int, default=1000)
    long = add("soak", _soak, "Everything goes wrong, and every client ends at the last state.")
    long.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def begin(*arguments: str, **settings: str) -> Program:
            variables = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
            return Program.start((*MODULE, *arguments), Path(folder), variables)

        broken: list[str] = options.run(options, begin)
    for line in broken:
        _show(line)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
