"""The page of metrics, from a gateway that has all of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from gateway.app import create_app
from gateway.auth.api_keys import generate_api_key
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.harness import SERVICE, settings
from tests.reference.table import code, table
from tests.telemetry.scrape import PREFIX

_INTRODUCTION = f"""
# Metrics

With `GATEWAY_METRICS_PORT`, a gateway serves these metrics for Prometheus.
[Observability](../operating/observability.md) says how to scrape and what to alert on. Every name begins with
`{PREFIX}`, which the table leaves out. The usual `process_…` and `python_…` metrics are there as well. With several
workers every series has the label `worker`.
"""
_OF_PROMETHEUS = {"le"}
_CLOSED_PORT = 1


def metrics_page() -> str:
    """Return the page."""
    rows = _rows(list(_of_a_busy_gateway()))
    return f"{_INTRODUCTION}\n{table(('metric', 'type', 'labels', 'meaning'), rows)}"


def _rows(metrics: list[Metric]) -> Iterator[tuple[str, ...]]:
    for each in sorted(metrics, key=lambda metric: metric.name):
        if each.name.startswith(PREFIX):
            name = each.name.removeprefix(PREFIX) + ("_total" if each.type == "counter" else "")
            labels = {label: None for sample in each.samples for label in sample.labels if label not in _OF_PROMETHEUS}
            yield code(name), each.type, code(*labels), each.documentation


def _of_a_busy_gateway() -> Iterator[Metric]:
    """Yield the metrics after a retry, a wrong key and a failure of Redis: then each has its labels."""
    with ExitStack() as stack:
        sandbox = Sandbox()
        sandbox.faults.add(Fault("thread", status=503, times=1))
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        file = Path(stack.enter_context(TemporaryDirectory())) / "keys.toml"
        key, line = generate_api_key("reference", [], None)
        file.write_text(line)
        own = {"upstream_url": upstream, "inbound_auth": "api_key", "api_keys_file": file, "metrics_port": 0}
        enums = Path(file.parent, "enums.json")
        enums.write_text('{"ThreadStatus": {"2": "Waiting"}}')
        redis = {"cache_url": f"redis://127.0.0.1:{_CLOSED_PORT}", "cache_secret": "any-sixteen-bytes"}
        app = create_app(settings(**{**SERVICE, **own, **redis, "rate_limit": "100/minute", "enums": enums}))
        url = stack.enter_context(BackgroundServer(gateway_config(app))).url
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            for each in (key, "wrong"):
                http.post("/graphql", json={"query": '{ thread(id: "th-1") { id } }'}, headers={"x-api-key": each})
        registry: CollectorRegistry = app.state.metrics.registry
        yield from registry.collect()
