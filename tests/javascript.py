"""Runs the JavaScript programs that tests drive the gateway with."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Project:
    """An npm project under ``tests``, with what it needs installed."""

    path: Path
    node: str

    def run(self, script: str, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        """Run a script to its end and return what it printed; a failure shows both outputs."""
        done = subprocess.run(  # noqa: S603 - our own scripts
            [self.node, script, *arguments],
            cwd=self.path,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{script} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, script: str, *arguments: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
        """Run a script in the background until the block ends; its standard error goes to ``log``."""
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own scripts
                [self.node, script, *arguments],
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
            with process:
                try:
                    yield process
                finally:
                    process.terminate()
                    try:
                        process.wait(5)
                    except subprocess.TimeoutExpired:
                        process.kill()


def project(name: str) -> Project:
    """Return the npm project ``tests/<name>``; skip the test where it cannot run."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    path = _TESTS / name
    if not (path / "node_modules").is_dir():
        pytest.skip(f"its packages are not installed: npm ci --prefix tests/{name}")
    return Project(path, node)
