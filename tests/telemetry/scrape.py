"""The result of a scrape: samples by name and labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.harness import NO_CERTIFICATES

PREFIX = "gochat_gateway_"


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape. Names of metrics are given without the prefix."""

    kinds: Mapping[str, str]
    """The type of each metric, by the name that its samples begin with."""
    samples: tuple[Sample, ...]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples called ``name`` that have ``labels``: 0 where there is none."""
        return sum(
            each.value for each in self.samples if each.name == PREFIX + name and labels.items() <= each.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Return every value that ``label`` has in the samples called ``name``."""
        return {each.labels[label] for each in self.samples if each.name == PREFIX + name}

    @property
    def series(self) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        """The names and labels that distinguish the samples in Prometheus."""
        return {(each.name, tuple(sorted(each.labels.items()))) for each in self.samples}


def scrape(url: str) -> Scrape:
    """Fetch the metrics as Prometheus does."""
    answer = httpx.get(url, trust_env=False, verify=NO_CERTIFICATES, timeout=30).raise_for_status()
    families = list(text_string_to_metric_families(answer.text))
    kinds = {each.name + ("_total" if each.type == "counter" else ""): each.type for each in families}
    return Scrape(kinds, tuple(sample for each in families for sample in each.samples))
