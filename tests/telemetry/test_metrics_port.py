"""The listener of the metrics port."""

import contextlib
import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.errors import ConfigurationError
from gateway.server.listeners import serve_metrics
from tests.harness import NO_CERTIFICATES


def test_a_registry_is_served_until_the_context_ends(capfd: pytest.CaptureFixture[str]) -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    with serve_metrics("127.0.0.1", 0, registry) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=NO_CERTIFICATES)
        assert "things_total 1.0" in answer.text
        with contextlib.suppress(OSError):
            other = socket.create_connection(("127.0.0.2", port), timeout=5)
            other.close()
            pytest.fail("it listens on another address as well")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert capfd.readouterr() == ("", ""), "a scrape is not logged"


def test_a_taken_port_is_an_error_that_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=rf"port {port} of 127\.0\.0\.1: .*GATEWAY_METRICS_PORT"),
            serve_metrics("127.0.0.1", port, CollectorRegistry()),
        ):
            pytest.fail("the port is served")
