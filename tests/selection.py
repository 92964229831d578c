"""What `uv run pytest` runs when it is given no path: the quick tests, on all cores.

Slow tests start the gateway as a process, roll it, build, fuzz, measure, or drive a browser or JavaScript. With a path
or ``-m`` everything that was asked for runs, one test at a time: slow tests that measure or wait disturb each other.
"""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, cast

import pytest

SLOW = "slow"
MAX_WORKERS = 8  # each imports the whole gateway, which takes longer than a share of the tests on a large machine
PROPERTY_CASES = int(os.environ.get("PROPERTY_CASES", "15"))
"""How many inputs a property test generates, or a share of it; `.ci/run` asks for 50."""

ONE_CASE_IN = int(os.environ.get("TESTS_ONE_CASE_IN", "1"))
"""Of the cases of a parametrized test, the first runs and each so many after it."""

LONGEST_FIRST = (
    "tests/browser/",
    "tests/running/test_rolling.py",
    "tests/contributing/test_route_recipe.py",
    "tests/live/test_proofs.py",
    "tests/packaging/test_distributions.py",
    "tests/running/test_worker_processes.py",
    "tests/clients/",
    "tests/upstream/test_login_lock.py",
    "tests/running/",
    "tests/test_cli.py",
)
"""Files and folders whose slow tests take longest. `.ci/run` runs a file in one process: the last must be short."""

_STARTS_A_PROCESS = "begin"
"""The fixture that starts the command line's programs."""


class Selection:
    """A pytest plugin, in the process that was started and in each of its workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._quick_only = _is_plain(config) if self._worker is None else bool(self._worker["quick_only"])
        self._left_out = 0

    def use_all_cores(self) -> None:
        """Run in parallel where only quick tests run, unless the command line says how."""
        option = self._config.option
        has_xdist = getattr(option, "numprocesses", 0) is None  # 0 where `-p no:xdist` leaves the option out
        if self._quick_only and self._worker is None and has_xdist and option.dist == "no" and not option.tx:
            # One more than there are cores, because some tests wait: 113 s instead of 120 s on two cores.
            option.numprocesses = min(os.cpu_count() or 1, MAX_WORKERS - 1) + 1
            option.dist = "worksteal"

    @pytest.hookimpl(tryfirst=True)  # before `-m` is applied
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark what starts processes, and leave out what is slow."""
        cases: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        items[:] = [item for item in items if next(cases[item.nodeid.partition("[")[0]]) % ONE_CASE_IN == 0]
        for item in items:
            if _STARTS_A_PROCESS in getattr(item, "fixturenames", ()):
                item.add_marker(SLOW)
        if not self._quick_only:
            items.sort(key=_place)
            return
        slow = [item for item in items if item.get_closest_marker(SLOW)]
        items[:] = [item for item in items if not item.get_closest_marker(SLOW)]
        self._left_out = len(slow)
        self._config.hook.pytest_deselected(items=slow)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker the decision: it cannot see what was on the command line."""
        node.workerinput["quick_only"] = self._quick_only

    def pytest_sessionfinish(self) -> None:
        """Report the number of tests left out to the process that started this worker."""
        if self._worker is not None:
            cast("Any", self._config).workeroutput["left_out"] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take that number; it is the same in every worker."""
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get("left_out", 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests did not run, why, and how to run them."""
        skipped = Counter(_reason(report) for report in terminalreporter.getreports("skipped"))
        for reason, count in sorted(skipped.items()):
            terminalreporter.write_line(f"skipped {reason}: {count} test{'s' * (count != 1)}")
        if self._left_out:
            terminalreporter.write_line(f"left out {self._left_out} slow tests: uv run pytest -m {SLOW}")


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "").removeprefix("Skipped: ")


def _place(item: pytest.Item) -> int:
    """Return where its file stands in the order; files with the same place keep theirs."""
    return next((at for at, path in enumerate(LONGEST_FIRST) if item.nodeid.startswith(path)), len(LONGEST_FIRST))


def _is_plain(config: pytest.Config) -> bool:
    named_a_path = config.args_source is pytest.Config.ArgsSource.ARGS
    return not (named_a_path or config.option.markexpr or getattr(config.option, "lf", False))
