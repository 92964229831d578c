"""Mutations while everything around them fails: `uv run --group dev python -m tests.storm --count 10000`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.storm.storm import storm


def main() -> int:
    """Run a storm, and print what it found; 1 where an answer was not true or a write was sent twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many mutations")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same faults")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = storm(Path(folder), options.count, options.seed)
    sys.stdout.write(f"{report}\n")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
