"""Metrics as Prometheus wants them: what is counted anyway is read when it is scraped, and only durations are noted.

A counter on a request's way is a plain integer of whoever counts (0.1 us); nobody is told of it. When the metrics are
scraped, functions turn those integers into samples. The one exception are histograms, which are prometheus_client's.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import __version__

PREFIX = "gochat_gateway_"
"""What the name of each metric of ours begins with."""

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The bounds of the buckets for the time that an operation or a REST call takes, in seconds."""

Collect = Callable[[], Iterable[Metric]]
Labels = tuple[str, ...]


def counter(name: str, documentation: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """Return a counter; ``name`` is without prefix and ``_total``."""
    family = CounterMetricFamily(PREFIX + name, documentation, labels=labels)
    for each, value in list(values.items()):  # a copy, since the scrape runs beside the event loop
        family.add_metric(each, value)
    return family


def gauge(name: str, documentation: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """Return a gauge; ``name`` is without prefix."""
    family = GaugeMetricFamily(PREFIX + name, documentation, labels=labels)
    for each, value in list(values.items()):
        family.add_metric(each, value)
    return family


class Durations:
    """A histogram of seconds. The labels' values are few and known: each keeps its series."""

    def __init__(self, histogram: Histogram, labels: Labels) -> None:
        self._histogram = histogram
        self._series: dict[Labels, Histogram] = {} if labels else {(): histogram}

    def observe(self, seconds: float, *labels: str) -> None:
        """Note one duration."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._histogram.labels(*labels)
        series.observe(seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Reader(Collector):
    """Reads what others count."""

    read: Collect

    def collect(self) -> Iterable[Metric]:
        return self.read()


class _Registry(CollectorRegistry):
    """Leaves out when each series began: Prometheus does not need it, and it doubles the number of series."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


class Metrics:
    """Everything that is scraped of one process. A gateway of its own has its own; nothing is global."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = _Registry()
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self.registry)
        self.add(_build_info)

    def add(self, read: Collect) -> None:
        """Ask ``read`` at each scrape, in the thread of the scrape."""
        self.registry.register(_Reader(read))

    def durations(
        self, name: str, documentation: str, labels: Labels, buckets: Sequence[float] = DURATIONS
    ) -> Durations:
        """Return a new histogram of seconds; ``name`` is without prefix and ends with ``_seconds``."""
        histogram = Histogram(PREFIX + name, documentation, labels, registry=self.registry, buckets=buckets)
        return Durations(histogram, labels)


def _build_info() -> Iterable[Metric]:
    labels = ("version", "python")
    values: dict[Labels, float] = {(__version__, platform.python_version()): 1.0}
    return [gauge("build_info", "Always 1; its labels say what runs.", labels, values)]
