"""What the metrics use of prometheus_client's undocumented behaviour. On its own, to check an upgrade in one place."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric


class RegistryWithoutCreated(CollectorRegistry):
    """A registry without the samples that say when each series was created.

    Prometheus does not need them, and they double the number of series. `disable_created_metrics()` would leave them
    out for the whole process, and so for the metrics of a program that embeds the gateway. Undocumented are that every
    scrape goes through ``collect``, and that ``collect`` returns new objects, which may be changed.
    """

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all collectors."""
        for metric in super().collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric
