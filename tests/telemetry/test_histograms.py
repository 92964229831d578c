"""The histograms are exposed as prometheus_client's are, whatever was observed."""

from hypothesis import given
from hypothesis import strategies as some
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import Metric

from gateway.telemetry.metrics import DURATIONS, PREFIX, Durations, Metrics

NAME = "waiting_seconds"
TEXT = "How long they waited."
SECONDS = some.floats(0, 60) | some.sampled_from(DURATIONS)


def exposed(metrics: list[Metric]) -> list[str]:
    """Return what Prometheus reads of these metrics."""

    class Fixed:
        def collect(self) -> list[Metric]:
            return metrics

    registry = CollectorRegistry()
    registry.register(Fixed())
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(some.lists(some.tuples(some.sampled_from(["query", 'a "mutation"']), SECONDS)))
def test_a_histogram_is_exposed_as_by_prometheus_client(observed: list[tuple[str, float]]) -> None:
    ours = Durations(NAME, TEXT, ("type",), DURATIONS)
    theirs = Histogram(PREFIX + NAME, TEXT, ("type",), registry=None, buckets=DURATIONS)
    for kind, seconds in observed:
        ours.observe(seconds, kind)
        theirs.labels(kind).observe(seconds)
    assert exposed(list(ours.collect())) == exposed(list(theirs.collect()))


def test_without_labels_the_series_exists_from_the_start() -> None:
    metrics = Metrics()
    durations = metrics.durations(NAME, TEXT, ())
    theirs = Histogram(PREFIX + NAME, TEXT, (), registry=None, buckets=DURATIONS)
    assert exposed(list(durations.collect())) == exposed(list(theirs.collect()))
    assert metrics.registry.get_sample_value(f"{PREFIX}{NAME}_count") == 0
