"""A gateway whose metrics are scraped, and loggers as they were."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client import make_asgi_app

from gateway.app import create_app
from gateway.clock import REAL_TIME, Timing
from gateway.sandbox import BackgroundServer, sandbox_config
from gateway.server.config import gateway_config
from tests.harness import NO_CERTIFICATES, Clock, Gateway, settings, with_account
from tests.telemetry.scrape import Scrape, scrape


@dataclass(frozen=True, slots=True)
class Watched(Gateway):
    """A gateway, and the URL of its metrics."""

    metrics_url: str

    def scrape(self) -> Scrape:
        return scrape(self.metrics_url)


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the loggers that `configure_logging` changes."""
    loggers = [logging.getLogger(name) for name in ("gateway", "uvicorn", "asyncio", "opentelemetry")]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


Watch = Callable[..., Watched]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(servers: ExitStack, upstream: str) -> Watch:
    """Start a gateway with metrics and with the given settings."""

    def start(timing: Timing = REAL_TIME, **overrides: Any) -> Watched:
        app = create_app(settings(**{"upstream_url": upstream, "metrics_port": 0, **with_account(**overrides)}), timing)
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        # In its own thread, as in `serve_metrics`, whose server takes half a second to stop.
        metrics = servers.enter_context(BackgroundServer(sandbox_config(make_asgi_app(app.state.metrics.registry))))
        return Watched(servers.enter_context(client), url, metrics.url)

    return start
