"""The alert rules are held to a real scrape, and to the pages that explain them."""

from typing import Any

import yaml

from tests.docker.recipe import DOCKER
from tests.docs.page import Page, code_of, table
from tests.telemetry.conftest import Watch
from tests.telemetry.test_dashboard import busy, labels_in, labels_of, names_in

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DOCKER / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def test_every_rule_asks_for_metrics_and_labels_that_there_are(watch: Watch) -> None:
    scrape = busy(watch)
    known = {each.name for each in scrape.samples} | set(scrape.kinds)
    for rule in RULES:
        names = names_in(rule["expr"])
        assert names <= known, rule
        assert names or "up{" in rule["expr"], rule
        sampled = [labels_of(scrape, name) for name in names if any(each.name == name for each in scrape.samples)]
        if sampled:
            assert labels_in(rule["expr"]) <= set.union(*sampled), rule


def test_prometheus_reads_the_rules() -> None:
    assert yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["rule_files"] == ["alerts.yaml"]


def test_every_rule_is_listed_and_has_a_section_in_the_runbook() -> None:
    alerts = {rule["alert"]: rule["labels"]["severity"] for rule in RULES}
    rows = table(Page("docs/operating/observability.md").section("What should I alert on?").text)
    assert {code_of(row[0]): row[1] for row in rows} == alerts
    assert set(alerts) <= {each.title for each in Page("docs/operating/runbook.md").sections}
