"""Watches a running gateway while something hostile happens: how long others wait, and how much memory it takes."""

import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

YARDSTICK = 0.006
"""The CPU seconds of the work in `slowness` on the machine where the bounds were measured, without other load."""

_PAUSE = 0.01
_MEGABYTE = 1024 * 1024


class Watch:
    """Asks ``/health`` every 10 ms from its start to its end.

    A request that waits while the process computes is blocked by it. On a busy machine a request also waits while the
    process does not run, so the process's CPU time in between is the measure where it is shorter.
    """

    def __init__(self, url: str, pid: int) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._process = Path("/proc") / str(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.blocked = 0.0
        """The longest time in seconds that a request was blocked."""
        self.probes = 0
        self.problem: Exception | None = None

    def __enter__(self) -> Self:
        (self._process / "clear_refs").write_text("5")  # the peak begins anew: proc(5)
        self._thread.start()
        while not self.probes and self._thread.is_alive():
            self._ended.wait(_PAUSE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()
        if kind is None and self.problem is not None:
            raise self.problem

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._probe()
                self._ended.wait(_PAUSE)
            self._probe()
        except Exception as exc:  # noqa: BLE001 - raised again in the test's own thread
            self.problem = exc

    def _probe(self) -> None:
        cpu, began = self.cpu(), time.perf_counter()
        self._connection.request("GET", "/health")
        response = self._connection.getresponse()
        response.read()
        waited = min(time.perf_counter() - began, self.cpu() - cpu)
        assert response.status == 200
        self.blocked = max(self.blocked, waited)
        self.probes += 1

    def cpu(self) -> float:
        """Return the CPU time of all threads of the process, in seconds."""
        nanoseconds = 0
        for task in (self._process / "task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has just ended
                nanoseconds += int((task / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def memory(self, *, peak: bool = False) -> float:
        """Return the memory that the process has, or had at most since the start of the watch, in MB."""
        name = "VmHWM" if peak else "VmRSS"
        lines = (self._process / "status").read_text().splitlines()
        (line,) = (each for each in lines if each.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024 / _MEGABYTE


def slowness(tries: int = 5) -> float:
    """Return how much slower this machine is now, at least 1: other processes use its caches as well."""

    def work() -> float:
        started = time.process_time()
        sum(number * number % 7 for number in range(100_000))
        return time.process_time() - started

    return max(1.0, min(work() for _ in range(tries)) / YARDSTICK)
