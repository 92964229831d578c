"""A gateway whose metrics are scraped."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.clock import REAL_TIME, Timing
from gateway.sandbox import BackgroundServer
from gateway.server.serve import gateway_config
from gateway.telemetry.exposition import exposed
from tests.conftest import NO_CERTIFICATES
from tests.harness import SERVICE, Clock, Gateway, settings
from tests.telemetry.scrape import Scrape, scrape


@dataclass(frozen=True, slots=True)
class Watched(Gateway):
    """A gateway, and where its metrics are."""

    metrics_url: str

    def scrape(self) -> Scrape:
        return scrape(self.metrics_url)


Watch = Callable[..., Watched]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(servers: ExitStack, upstream: str) -> Watch:
    """Start a gateway with metrics, and with the settings given."""

    def start(timing: Timing = REAL_TIME, **overrides: Any) -> Watched:
        app = create_app(settings(**{"upstream_url": upstream, **SERVICE, "metrics_port": 0, **overrides}), timing)
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        listener = socket.create_server(("127.0.0.1", 0))
        servers.enter_context(exposed(listener, app.state.metrics.registry))
        metrics_url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        return Watched(servers.enter_context(client), url, metrics_url)

    return start
