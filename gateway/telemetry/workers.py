"""The metrics of several workers on one port: the supervisor collects them from every worker at each scrape.

    Prometheus ──▶ supervisor ── one end of a new pair of sockets ──▶ worker, which writes its metrics and closes it

Nothing is written to a file. A worker has the lowest number that is free, so one that replaces another continues its
series, and Prometheus sees counters that were reset. The label is necessary: in a sum over all workers, the reset of
one worker would look like a reset of all.

prometheus_client's multiprocess mode cannot be used. It supports only metrics that are written as they happen, each
increment into a mapped file; our counters are read at a scrape by custom collectors (see ``metrics``), which that mode
ignores, and its process metrics are missing.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

LABEL = "worker"
"""The label with the number of a worker."""

_WORKER_RESPONSE_TIMEOUT_SECONDS = 2.0  # Prometheus waits for 10


def serve_worker_metrics(requests: socket.socket, registry: CollectorRegistry) -> None:
    """Write this worker's metrics to each socket that comes over ``requests``, until the process ends."""
    threading.Thread(target=_serve, args=(requests, registry), name="metrics", daemon=True).start()


def _serve(requests: socket.socket, registry: CollectorRegistry) -> None:
    requests.setblocking(True)
    with contextlib.suppress(OSError):
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1, 1)
            if not message:  # the supervisor has ended
                return
            for descriptor in descriptors:
                _respond(socket.socket(fileno=descriptor), registry)


def _respond(connection: socket.socket, registry: CollectorRegistry) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_WORKER_RESPONSE_TIMEOUT_SECONDS)
        connection.sendall(generate_latest(registry))


class WorkersCollector(Collector):
    """Collects the metrics of every worker that responds.

    ``workers`` returns, by the workers' numbers, the sockets by which they can be asked.
    """

    def __init__(self, workers: Callable[[], Mapping[int, socket.socket]]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers, each with the worker's label."""
        families: dict[str, Metric] = {}
        for number, requests in sorted(self._workers().items()):
            with contextlib.suppress(OSError, ValueError):  # ValueError: it died in the middle of its response
                _merge(families, list(_fetch(requests)), str(number))
        return families.values()


def _fetch(requests: socket.socket) -> Iterable[Metric]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(requests, [b"?"], [theirs.fileno()])
        ours.settimeout(_WORKER_RESPONSE_TIMEOUT_SECONDS)
        chunks = list(iter(lambda: ours.recv(65_536), b""))
    return text_string_to_metric_families(b"".join(chunks).decode())


def _merge(families: dict[str, Metric], fetched: Iterable[Metric], worker: str) -> None:
    for family in fetched:
        whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        whole.samples += [each._replace(labels={**each.labels, LABEL: worker}) for each in family.samples]
