"""The metrics of several workers on one port: each tells its own, and who answers a scrape asks them all.

    worker ──listens──▶ <folder>/<number>.sock ◀──asks at each scrape── supervisor ◀── Prometheus

A worker takes the lowest number that is free and holds it by a lock, which ends with the process, whatever ends it: so
a worker that takes another's place goes on with its series, and Prometheus sees counters that begin anew. Added up over
workers they would not: a sum that falls by one worker's share looks like a new beginning of all. Hence the label.

Why not prometheus_client's own mode for several processes: there each increment is a write into a mapped file, and what
is only read at a scrape (`gateway.telemetry.metrics`) cannot be told.
"""

import contextlib
import fcntl
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

LABEL = "worker"
"""Tells the workers of a gateway apart."""

_PATIENCE = 2.0  # seconds for a worker to answer; Prometheus waits for 10
_MOST_WORKERS = 1024


def tell(folder: Path, registry: CollectorRegistry) -> None:
    """Answer whoever asks for this worker's metrics, as long as the process lives."""
    number, lock = _number(folder)
    path = folder / f"{number}.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=_answer, args=(listener, registry, lock), name="metrics", daemon=True).start()


def _number(folder: Path) -> tuple[int, IO[str]]:
    """Return the lowest number that no other worker has, and the file that holds its lock."""
    for number in range(_MOST_WORKERS):
        lock = (folder / f"{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return number, lock
    raise RuntimeError("no more workers can be told apart")


def _answer(listener: socket.socket, registry: CollectorRegistry, lock: IO[str]) -> None:
    with lock:  # it is held as long as this thread runs: to the end of the process
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE)
                connection.sendall(generate_latest(registry))


class WorkersCollector(Collector):
    """Asks every worker that tells its metrics in ``folder``; one that does not answer is left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers, with a label that tells them apart."""
        families: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("*.sock")):
            with contextlib.suppress(OSError):
                _merge(families, _ask(path), path.stem)
        return families.values()


def _ask(path: Path) -> Iterable[Metric]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        chunks = list(iter(lambda: connection.recv(65_536), b""))
    return text_string_to_metric_families(b"".join(chunks).decode())


def _merge(families: dict[str, Metric], told: Iterable[Metric], worker: str) -> None:
    for family in told:
        whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        whole.samples += [each._replace(labels={**each.labels, LABEL: worker}) for each in family.samples]
