"""The command line's programs, as processes: started, listened to, told to stop."""

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
from typing import IO
from urllib.parse import urlsplit

import pytest

# What a test waits at most for a process to say or do something, in seconds: long, because it is waited in vain only
# where a test fails.
PATIENCE = 30
MODULE = (sys.executable, "-m", "gateway")


class Lines:
    """The lines of a stream, as they come."""

    def __init__(self, stream: IO[str]) -> None:
        self._coming: SimpleQueue[str | None] = SimpleQueue()
        self._seen: list[str] = []
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._coming.put(line)
        self._coming.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        """Return the match in the next line that has ``pattern``; fail where the stream ends or stalls before it."""
        deadline = time.monotonic() + PATIENCE
        while (line := self._next(deadline)) is not None:
            if match := re.search(pattern, line):
                return match
        pytest.fail(f"no {pattern!r} in: {''.join(self._seen)}")

    def rest(self) -> str:
        """Return everything to the end of the stream."""
        start = len(self._seen)
        while self._next(time.monotonic() + PATIENCE) is not None:
            pass
        return "".join(self._seen[start:])

    def _next(self, deadline: float) -> str | None:
        try:
            line = self._coming.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            pytest.fail(f"the process says no more than: {''.join(self._seen)}")
        if line is not None:
            self._seen.append(line)
        return line


class Program:
    """A running command; the leader of a process group, as in a terminal."""

    def __init__(self, command: tuple[str, ...], cwd: Path, env: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.process = subprocess.Popen(  # noqa: S603 - the test's own command
            command,
            cwd=cwd,
            env={**environment, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def end(self, timeout: float = PATIENCE) -> int:
        """Return the exit code once it has ended."""
        return self.process.wait(timeout)

    def interrupt(self, number: int) -> None:
        """Send a signal to the whole group, as Ctrl-C does."""
        os.killpg(self.process.pid, number)

    def interrupt_until_it_ends(self, number: int) -> int:
        """Send a signal again and again, so that one comes while the interpreter ends; return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.interrupt(number)
        return self.end()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.interrupt(signal.SIGKILL)
            self.process.wait()


Start = Callable[..., Program]


def outcome(program: Program) -> tuple[int, str, str]:
    return program.end(), program.out.rest(), program.err.rest()


def is_open(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def serving(program: Program) -> str:
    """Return the address of the endpoint, once the gateway answers there."""
    url = program.err.until(r'"listening on (http://[^"]+)"')[1]
    deadline = time.monotonic() + PATIENCE
    while not is_open(url):  # a worker process opens it a moment later
        assert time.monotonic() < deadline
        assert program.process.poll() is None
        threading.Event().wait(0.01)
    return url


def until(holds: Callable[[], bool], what: str) -> None:
    """Return once it holds; fail where it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        threading.Event().wait(0.01)


def free_port() -> int:
    """Return a port of 127.0.0.1 that no program listens on now.

    It is below those that systems give to connections, or one of the many other tests' connections could take it first.
    """
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
