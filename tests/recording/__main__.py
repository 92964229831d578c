"""Records queries against the sandbox, replays them, and compares the answers: `uv run python -m tests.recording`.

With `--suite` it first runs tests, and takes the queries that these send as well. It ends with 1 where an answer from
the recording is another one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.recording.corpus import Query, distinct_queries, generated, noted, shown
from tests.recording.notes import NOTES
from tests.recording.replaying import compare

_MOST_SHOWN = 10


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("tests.recording", description=__doc__)
    parser.add_argument("--generated", type=int, default=300, metavar="N", help="so many generated queries (300)")
    parser.add_argument("--suite", nargs="+", default=[], metavar="PATH", help="tests whose queries are taken as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sent = list(_sent(options.suite, Path(folder)))
    queries = distinct_queries(chain(shown(), generated(options.generated), sent))
    report = compare(queries)
    _show(f"queries: {report.queries}, of which the tests sent {_count(queries, sent)}")
    _show(f"with errors: {report.with_errors}")
    _show(f"exchanges recorded: {report.exchanges}, of {report.calls} calls")
    _show(f"recordings until no two ids were alike: {report.tries}")
    _show(f"answers that are different: {len(report.differences)}")
    for difference in report.differences[:_MOST_SHOWN]:
        _show(difference)
    return 1 if report.differences else 0


def _sent(paths: list[str], folder: Path) -> Iterator[Query]:
    """Run tests, and yield what they sent. Whether they succeed is another matter."""
    if paths:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *paths]
        subprocess.run(command, check=False, env={**os.environ, NOTES: str(folder)})  # noqa: S603 - our own tests
    return noted(folder)


def _count(queries: list[Query], sent: list[Query]) -> int:
    return sum(query in sent for query in queries)


def _show(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's output


if __name__ == "__main__":
    sys.exit(main())
