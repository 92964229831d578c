"""The plain command runs quick tests of every layer, says what it leaves out, and `.ci/run` runs both halves."""

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.requirements import REQUIRED, require_program
from tests.selection import LONGEST_FIRST

ROOT = Path(__file__).parent.parent


def collected(*arguments: str, **environment: str) -> tuple[set[str], str]:
    """Return the files with tests that pytest would run, and all that it prints."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return set(re.findall(r"^(\S+\.py)::", done.stdout, re.MULTILINE)), done.stdout


@pytest.mark.slow
def test_the_plain_command_leaves_out_slow_tests_of_no_layer_completely() -> None:
    files, printed = collected()
    assert re.search(r"^left out \d+ slow tests: uv run pytest -m slow$", printed, re.MULTILINE)
    assert not files & {"tests/audit/test_audit.py", "tests/fuzz/test_fuzz.py", "tests/test_cli.py"}
    layers = {"auth", "execution", "running", "sandbox", "schema", "telemetry", "upstream", "web"}
    assert {
        layer for layer in layers if any(f"/{layer}/" in path or f"test_{layer}" in path for path in files)
    } == layers


@pytest.mark.slow
def test_a_path_selects_all_of_its_tests() -> None:
    files, printed = collected("tests/audit", "tests/test_cli.py")
    assert files == {"tests/audit/test_audit.py", "tests/test_cli.py"}
    assert "left out" not in printed


@pytest.mark.slow
def test_a_part_of_the_cases_has_the_first_of_every_test() -> None:
    _, printed = collected("tests/limits/test_limits.py")
    _, part = collected("tests/limits/test_limits.py", TESTS_ONE_CASE_IN="3")
    all_cases, some_cases = (re.findall(r"^\S+\.py::.*", each, re.MULTILINE) for each in (printed, part))
    expected: list[str] = []
    for _, cases in groupby(all_cases, key=lambda case: case.partition("[")[0]):
        expected += list(cases)[::3]
    assert some_cases == expected
    assert len(expected) < len(all_cases)


def test_ci_runs_both_halves_and_skips_nothing() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [each.strip() for each in re.findall(r"uv run pytest[^|;\\\n]*", script)]
    ignored = [each for command in commands for each in re.findall(r"--ignore (\S+)", command)]
    assert commands == [
        "uv run pytest",
        "uv run pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder tests --ignore tests/limits",
        "uv run pytest -m slow tests/limits",
    ]
    assert {f"uv run pytest -m slow {each}" for each in ignored} <= set(commands), "what one leaves out, another runs"
    assert f"export {REQUIRED}=1" in script


@pytest.mark.parametrize("last", ["true", "false"])
def test_ci_waits_for_both_of_two_that_run_side_by_side(tmp_path: Path, last: str) -> None:
    """Also where the first has started processes of its own. It fails where one of them fails."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^side_by_side\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL)
    assert function is not None
    program = f"""
        set -euo pipefail
        scratch={tmp_path}
        {function[0]}
        inner() {{ :; }}
        first() {{ side_by_side inner inner && touch "$scratch/over"; }}
        second() {{ until [ -e "$scratch/over" ]; do read -r -t 0.01 || true; done; {last}; }}
        side_by_side first second
    """
    done = subprocess.run(["bash", "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603, S607 - the test's own
    assert done.returncode == (0 if last == "true" else 1), done.stderr


@pytest.mark.slow
def test_the_files_that_run_first_exist_and_run_first() -> None:
    assert all((ROOT / each).exists() for each in LONGEST_FIRST)
    _, printed = collected("-m", "slow", "tests/test_layers.py", *LONGEST_FIRST[-2:])
    files = list(dict.fromkeys(re.findall(r"^(\S+\.py)::", printed, re.MULTILINE)))
    assert files[-2:] == ["tests/test_cli.py", "tests/test_layers.py"]


def test_a_missing_program_skips_its_test_or_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"for want of redis-server \(apt-get install redis-server\)"):
        require_program("redis-server")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="for want of redis-server"):
        require_program("redis-server")
