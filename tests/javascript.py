"""Runs JavaScript programs against the gateway."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.requirements import missing

_TESTS = Path(__file__).parent
_OLDEST_NODE = 20
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Project:
    """An npm project under ``tests`` whose packages are installed."""

    path: Path
    node: str

    def run(self, script: str, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
        """Run a script to its end, and return its standard output. Fail with all its output when it fails.

        ``environment`` is added to that of the tests.
        """
        done = subprocess.run(  # noqa: S603 - our own scripts
            [self.node, script, *arguments],
            cwd=self.path,
            input=stdin,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            encoding="utf-8",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, script: str, *arguments: str, until: str) -> Iterator[str]:
        """Run a script until the block ends. Yield the line with ``until``, which says that it is ready."""
        process = subprocess.Popen(  # noqa: S603 - our own scripts
            [self.node, script, *arguments],
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        assert process.stdout is not None
        # A program blocks when its output is not read.
        rest = threading.Thread(target=_drain, args=[process.stdout])
        with process:
            try:
                with _killed_if_late(process):
                    said = _line_with(until, process.stdout)
                rest.start()
                yield said  # for as long as the tests of a module take, also on a busy machine
            finally:
                process.terminate()
                with _killed_if_late(process):
                    if rest.is_alive():
                        rest.join()  # before its file is closed
                    process.wait()


@contextmanager
def _killed_if_late(process: subprocess.Popen[str]) -> Iterator[None]:
    end = threading.Timer(_TIMEOUT_SECONDS, process.kill)
    end.start()
    try:
        yield
    finally:
        end.cancel()


def _line_with(text: str, lines: Iterable[str]) -> str:
    said = []
    for line in lines:
        said.append(line)
        if text in line:
            return line.strip()
    pytest.fail(f"the program ended before it was ready:\n{''.join(said)}")


def _drain(lines: Iterable[str]) -> None:
    for _ in lines:
        pass


@cache
def _major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, encoding="utf-8", check=True).stdout  # noqa: S603 - node, of PATH
    return int(version.removeprefix("v").partition(".")[0])


def project(name: str) -> Project:
    """Return the npm project ``tests/<name>``. Skip the test when it cannot run."""
    node = shutil.which("node") or missing("node", "apt-get install nodejs npm")
    if _major(node) < _OLDEST_NODE:
        missing(f"Node.js {_OLDEST_NODE}", f"{node} is {_major(node)}")
    path = _TESTS / name
    if not (path / "node_modules").is_dir():
        missing(f"the packages of tests/{name}", f"npm ci --prefix tests/{name}")
    return Project(path, node)
