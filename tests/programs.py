"""Runs the command line's programs as processes, reads their output, and stops them."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Self
from urllib.parse import urlsplit

import pytest

from tests.forkserver import Forked

# Seconds that a test waits for a process to print or do something. Only a failing test waits so long.
TIMEOUT_SECONDS = 90
MODULE = (sys.executable, "-m", "gateway")


def environment(more: dict[str, str]) -> dict[str, str]:
    """Return the variables of this process, without those of a proxy, and more."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | more


class Lines:
    """The lines of a stream, in the order in which they arrive."""

    def __init__(self, stream: IO[str]) -> None:
        self._arriving: SimpleQueue[str | None] = SimpleQueue()
        self._seen: list[str] = []
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._arriving.put(line)
        self._arriving.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        """Return the match in the next line that has ``pattern``. Fail when the stream ends or stalls first."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (line := self._next(deadline)) is not None:
            if match := re.search(pattern, line):
                return match
        pytest.fail(f"no {pattern!r} in: {''.join(self._seen)}")

    def rest(self) -> str:
        """Return everything to the end of the stream."""
        start = len(self._seen)
        while self._next(time.monotonic() + TIMEOUT_SECONDS) is not None:
            pass
        return "".join(self._seen[start:])

    def all(self) -> str:
        """Return everything from the beginning to the end of the stream."""
        self.rest()
        return "".join(self._seen)

    def _next(self, deadline: float) -> str | None:
        try:
            line = self._arriving.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            pytest.fail(f"the process printed only: {''.join(self._seen)}")
        if line is not None:
            self._seen.append(line)
        return line


class Program:
    """A running command that leads its own process group, as in a terminal."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.out = Lines(process.stdout)
        self.err = Lines(process.stderr)

    @classmethod
    def start(cls, command: tuple[str, ...], cwd: Path, env: dict[str, str]) -> Self:
        """Start a command in a new process."""
        return cls(
            subprocess.Popen(  # noqa: S603 - the test's own command
                command,
                cwd=cwd,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,
            )
        )

    def end(self, timeout: float = TIMEOUT_SECONDS) -> int:
        """Wait for its end, and return the exit status."""
        return self.process.wait(timeout)

    def interrupt(self, number: int) -> None:
        """Send a signal to the whole group, as Ctrl-C does."""
        with suppress(ProcessLookupError):  # a fork that has ended is not there until the test asks for its status
            os.killpg(self.process.pid, number)

    def interrupt_until_it_ends(self, number: int) -> int:
        """Send a signal repeatedly, so that one arrives while the interpreter exits. Return the exit status."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.interrupt(number)
        return self.end()

    def kill(self) -> None:
        """End the whole group at once."""
        if self.process.poll() is None:
            self.interrupt(signal.SIGKILL)
            self.process.wait()


Start = Callable[..., Program]


def outcome(program: Program) -> tuple[int, str, str]:
    """Return the exit status, and the rest of standard output and of standard error."""
    return program.end(), program.out.rest(), program.err.rest()


def is_open(url: str) -> bool:
    """Return whether something accepts connections at the address."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def serving(program: Program) -> str:
    """Return the address of the endpoint once the gateway accepts connections."""
    return program.err.until(r'"listening on (http://[^"]+)"')[1]


def until(holds: Callable[[], bool], what: str) -> None:
    """Return once ``holds`` is true. Fail when it takes too long."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.01)


def workers(program: Program) -> set[int]:
    """Return the process ids of the workers, without Python's resource tracker."""
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
    return {int(each) for each in children if "spawn_main" in _command(each)}


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended before the file was opened, or before it was read
        return ""


def free_port() -> int:
    """Return a port of 127.0.0.1 that no program uses now.

    It is below the range from which systems choose a connection's own port: tests in other processes open many
    connections, and one of them could take the port before the program does.
    """
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
