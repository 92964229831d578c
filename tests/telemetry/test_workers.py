"""The metrics of several workers on one port."""

import os
import signal

import httpx

from gateway.sandbox import Sandbox
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.programs import Start, serving, until, workers
from tests.telemetry.scrape import PREFIX, scrape

THREAD = {"query": '{ thread(id: "th-1") { id } }'}


def ask(url: str) -> None:
    answer = httpx.post(url, json=THREAD, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
    assert answer.json() == {"data": {"thread": {"id": "th-1"}}}


def test_each_worker_is_scraped_and_a_replacement_continues_its_series(
    begin: Start, upstream: str, sandbox: Sandbox
) -> None:
    settings = {**SERVICE, "upstream_url": upstream, "metrics_port": "0", "shutdown_delay": "0"}
    program = begin("serve", "--port", "0", "--workers", "2", **settings)
    metrics = program.err.until(r'"metrics on (http://[^"]+)"')[1]
    url = serving(program)

    def processes() -> dict[str, int]:
        """Return the start time of each worker's process, which identifies it."""
        now = scrape(metrics)
        starts = (each for each in now.samples if each.name == "process_start_time_seconds")
        return {each.labels["worker"]: int(each.value * 1000) for each in starts}

    until(lambda: set(processes()) == {"0", "1"}, "both workers serve their metrics")
    for _ in range(20):
        ask(url)
    now = scrape(metrics)
    assert now.value("operations_total", code="OK") == 20
    assert now.value("upstream_request_duration_seconds_count", route="/api/v1/thread/{id}") == sandbox.count("thread")
    assert now.kinds[f"{PREFIX}operations_total"] == "counter"
    before = processes()
    os.kill(min(workers(program)), signal.SIGKILL)
    until(lambda: set(processes()) == {"0", "1"} and processes() != before, "another worker replaces it")
    program.interrupt(signal.SIGTERM)
    assert program.end() == 0


def test_a_taken_metrics_port_ends_the_start(begin: Start, upstream: str) -> None:
    first = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, metrics_port="0")
    port = first.err.until(r'"metrics on http://127\.0\.0\.1:(\d+)/metrics"')[1]
    for number in ("1", "2"):
        second = begin("serve", "--port", "0", "--workers", number, **SERVICE, upstream_url=upstream, metrics_port=port)
        assert second.end() == 2
        assert "GATEWAY_METRICS_PORT" in second.err.rest()
