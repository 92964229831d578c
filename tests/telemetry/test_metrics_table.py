"""The table of metrics in the documentation matches a scrape."""

from gateway.sandbox import Fault, Sandbox
from tests.docs.page import Page, code_of, table
from tests.telemetry.conftest import Watch
from tests.telemetry.scrape import PREFIX

_OF_PROMETHEUS = {"le"}


def test_the_table_has_every_metric_with_its_type_and_labels_and_no_other(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch()
    sandbox.faults.add(Fault("thread", status=503, times=1))
    gateway.data('{ thread(id: "th-1") { id } }')
    now = gateway.scrape()
    rows = {code_of(row[0]): row for row in table(Page("docs/reference/metrics.md").text)}
    kinds = {name.removeprefix(PREFIX): kind for name, kind in now.kinds.items() if name.startswith(PREFIX)}
    assert {name: row[1] for name, row in rows.items()} == kinds
    for sample in now.samples:
        name = sample.name.removeprefix(PREFIX)
        for suffix in ("_bucket", "_sum", "_count"):
            name = name.removesuffix(suffix)
        if sample.name.startswith(PREFIX):
            assert set(rows[name][2].replace("`", "").split()) == set(sample.labels) - _OF_PROMETHEUS, name
