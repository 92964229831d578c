"""The metrics of several workers on one port: the supervisor collects them from every worker at each scrape.

    worker ──listens──▶ <folder>/<number>.sock ◀──connects at each scrape── supervisor ◀── Prometheus

A worker takes the lowest free number and holds it by a file lock, which ends with the process. So a worker that
replaces another continues its series, and Prometheus sees counters that were reset. The label is necessary: in a sum
over all workers, the reset of one worker would look like a reset of all.

prometheus_client's multiprocess mode cannot be used. It supports only metrics that are written as they happen, each
increment into a mapped file; our counters are read at a scrape by custom collectors (see ``metrics``), which that mode
ignores, and its process metrics are missing.
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
"""The label with the number of a worker."""

_WORKER_RESPONSE_TIMEOUT_SECONDS = 2.0  # Prometheus waits for 10
_MAX_WORKERS = 1024


def serve_worker_metrics(folder: Path, registry: CollectorRegistry) -> None:
    """Serve this worker's metrics on a socket in ``folder`` until the process ends."""
    number, lock = _claim_number(folder)
    path = folder / f"{number}.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=_serve, args=(listener, registry, lock), name="metrics", daemon=True).start()


def _claim_number(folder: Path) -> tuple[int, IO[str]]:
    """Return the lowest number that no other worker holds, and its locked file."""
    for number in range(_MAX_WORKERS):
        lock = (folder / f"{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return number, lock
    raise RuntimeError(f"there are more than {_MAX_WORKERS} workers")


def _serve(listener: socket.socket, registry: CollectorRegistry, lock: IO[str]) -> None:
    with lock:  # held until the process ends, as long as this thread runs
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_WORKER_RESPONSE_TIMEOUT_SECONDS)
                connection.sendall(generate_latest(registry))


class WorkersCollector(Collector):
    """Collects the metrics of every worker with a socket in ``folder``, except those that do not respond."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers, each with the worker's label."""
        families: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("*.sock")):
            with contextlib.suppress(OSError):
                _merge(families, _fetch(path), path.stem)
        return families.values()


def _fetch(path: Path) -> Iterable[Metric]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_WORKER_RESPONSE_TIMEOUT_SECONDS)
        connection.connect(str(path))
        chunks = list(iter(lambda: connection.recv(65_536), b""))
    return text_string_to_metric_families(b"".join(chunks).decode())


def _merge(families: dict[str, Metric], fetched: Iterable[Metric], worker: str) -> None:
    for family in fetched:
        whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        whole.samples += [each._replace(labels={**each.labels, LABEL: worker}) for each in family.samples]
