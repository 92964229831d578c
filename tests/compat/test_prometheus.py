"""Canaries of gateway/compat/prometheus.py: after an upgrade, each names the borrowed behaviour that is gone."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.compat.prometheus import RegistryWithoutCreated


def scraped(registry: CollectorRegistry) -> str:
    Histogram("seconds", "A histogram.", registry=registry).observe(1)
    return generate_latest(registry).decode()


def test_a_scrape_goes_through_collect() -> None:
    text = scraped(RegistryWithoutCreated())
    assert "seconds_count 1.0" in text
    assert "_created" not in text, "a scrape does not call CollectorRegistry.collect any more, or not with new objects"


def test_series_have_created_samples_without_it() -> None:
    assert "seconds_created" in scraped(CollectorRegistry()), "RegistryWithoutCreated is not needed any more"
