"""Records queries against the sandbox, replays them, and compares the answers: `uv run python -m tests.recording`.

With `--suite` it first runs tests, and takes the queries that these send as well. It ends with 1 where an answer from
the recording is another one.
"""

import argparse
import os
import sys
from itertools import chain

from tests.recording.corpus import generated, shown
from tests.recording.replaying import compare
from tests.recording.selection import Sent, distinct_queries, sent_by

_MOST_SHOWN = 10


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("tests.recording", description=__doc__)
    parser.add_argument("--generated", type=int, default=300, metavar="N", help="so many generated queries (300)")
    parser.add_argument("--marked", default="not slow", help="which of those tests: an expression for `pytest -m`")
    parser.add_argument("--suite", nargs="+", default=[], metavar="PATH", help="tests whose queries are taken as well")
    options = parser.parse_args()
    sent = sent_by(options.suite, options.marked, os.cpu_count() or 1) if options.suite else Sent()
    queries = distinct_queries(chain(shown(), generated(options.generated), sent.queries))
    if options.suite:
        _show(f"operations that tests sent: {len(sent.queries) + sent.left_out.total()}")
        _show(f"by so many tests: {len(sent.tests)}, of so many files: {len(sent.files)}")
        for reason, count in sent.left_out.most_common():
            _show(f"left out, {reason}: {count}")
        _show(f"queries that tests sent: {len(sent.queries)}, each once: {len(distinct_queries(sent.queries))}")
    report = compare(queries)
    _show(f"queries with those of the documentation and the generated ones: {report.queries}")
    _show(f"with errors: {report.with_errors}")
    _show(f"exchanges recorded: {report.exchanges}, of {report.calls} calls")
    _show(f"recordings until no two ids were alike: {report.tries}")
    _show(f"answers that are different: {len(report.differences)}")
    for difference in report.differences[:_MOST_SHOWN]:
        _show(difference)
    return 1 if report.differences else 0


def _show(line: str) -> None:
    print(line.encode(errors="backslashreplace").decode(), flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
