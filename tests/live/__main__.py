"""`uv run python -m tests.live`: prove that webhooks reach every worker, as often as is asked for."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.live.freshness import run


def main() -> None:
    """Print what was seen, and exit with 1 where a response was older than it may be."""
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--restart-every", type=int, default=50, metavar="TRIES")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.tries, options.restart_every, Path(folder))
    print(report, *report.older, sep="\n")  # noqa: T201 - the program's output
    sys.exit(1 if report.older else 0)


if __name__ == "__main__":
    main()
