"""Grafana's dashboard matches a real scrape. A query with a wrong name or label would just show nothing."""

import json
import re
from typing import Any

import yaml

from tests.docker.recipe import DOCKER, compose
from tests.docs.page import Page, code_of, table
from tests.telemetry.conftest import Watch
from tests.telemetry.scrape import PREFIX, Scrape

DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboards" / "gateway.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
# What Prometheus adds to each series.
ADDED = {"instance", "job"}


def queries() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def labels_of(scrape: Scrape, metric: str) -> set[str]:
    return {label for each in scrape.samples if each.name == metric for label in each.labels} | ADDED


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:gochat_gateway|process|python)_\w+", query))


def labels_in(query: str) -> set[str]:
    grouped = {label for each in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", each)}
    return grouped | set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", query))


def busy(watch: Watch) -> Scrape:
    """Return a scrape after every kind of event, so that all series with labels exist."""
    gateway = watch(cache_url="memory://")
    gateway.query('{ thread(id: "th-1") { id } customer(externalId: "cu-1") { id } }')
    gateway.http.post("/graphql", json={"query": "{ nonsense }"})
    return gateway.scrape()


def test_every_query_uses_existing_metrics(watch: Watch) -> None:
    scrape = busy(watch)
    known = {each.name for each in scrape.samples} | set(scrape.kinds)
    for query in queries():
        assert names_in(query), query
        assert names_in(query) <= known, query


def test_every_query_uses_existing_labels(watch: Watch) -> None:
    scrape = busy(watch)
    checked = 0
    for query in queries():
        found = [labels_of(scrape, name) for name in names_in(query) if any(s.name == name for s in scrape.samples)]
        if found:
            checked += 1
            assert labels_in(query) <= set.union(*found), query
    assert checked > len(queries()) / 2


def test_a_counter_is_shown_as_a_rate_and_a_gauge_directly(watch: Watch) -> None:
    kinds = busy(watch).kinds
    for query in queries():
        for name in names_in(query):
            kind = kinds.get(name) or kinds.get(re.sub(r"_(bucket|count|sum)$", "", name))
            assert (f"rate({name}" in query) == (kind in {"counter", "histogram"}), query


def test_every_metric_has_a_panel() -> None:
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for query in queries() for name in names_in(query)}
    documented = {PREFIX + code_of(row[0]) for row in table(Page("docs/reference/metrics.md").text)}
    assert documented - shown == set()


def test_the_panels_do_not_overlap() -> None:
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in PANELS]
    assert len(set(places)) == len(places)
    assert all(each["gridPos"]["x"] + each["gridPos"]["w"] <= 24 for each in PANELS)
    assert len({each["id"] for each in PANELS}) == len(PANELS)


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert source["url"].startswith("http://prometheus:")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gateway.yaml").read_text())["providers"]
    mounted = compose()["services"]["grafana"]["volumes"]
    assert any(f":{provider['options']['path']}:" in each for each in mounted)


def test_prometheus_scrapes_every_gateway_at_its_metrics_port() -> None:
    (job,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    services = compose()["services"]
    ports = {
        name: each["environment"]["GATEWAY_METRICS_PORT"]
        for name, each in services.items()
        if name.startswith("gateway-")
    }
    assert job["static_configs"][0]["targets"] == [f"{name}:{port}" for name, port in ports.items()]
    used = {each for query in queries() for each in re.findall(r'job="([^"]+)"', query)}
    assert used == {job["job_name"]}
