"""A gateway whose subscriptions follow the sandbox by reading it again all the time, and how many of them are open."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from gateway.app import create_app
from gateway.execution.subscriptions import Subscriptions
from gateway.sandbox import BackgroundServer, Sandbox
from gateway.server.config import gateway_config
from gateway.telemetry.metrics import Metrics
from tests.auth.issuer import eventually
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings

FOLLOWING = {"resync_interval": 0.1}


@dataclass(frozen=True, slots=True)
class LiveGateway(Gateway):
    """A running gateway with its subscriptions."""

    sandbox: Sandbox
    subscriptions: Subscriptions
    metrics: Metrics | None

    def change(self, ident: str, **fields: Any) -> None:
        """Change a thread, or add one. The gateway hears of it soon."""
        self.sandbox.store.put_thread({"id": ident, **fields})

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics, which the settings have to switch on."""
        assert self.metrics is not None
        return self.metrics.registry

    def wait_until_open(self, number: int) -> None:
        """Wait until so many subscriptions are open."""
        eventually(lambda: self.subscriptions.open == number)


@pytest.fixture
def start_live(servers: ExitStack, upstream: str, sandbox: Sandbox) -> Callable[..., LiveGateway]:
    """Start a gateway in service mode that follows the sandbox, with these settings."""

    def start_gateway(**overrides: Any) -> LiveGateway:
        app = create_app(settings(**{"upstream_url": upstream, **SERVICE, **FOLLOWING, **overrides}))
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        http = servers.enter_context(client)
        return LiveGateway(http, url, sandbox, app.state.subscriptions, app.state.metrics)

    return start_gateway


@pytest.fixture
def live(start_live: Callable[..., LiveGateway]) -> LiveGateway:
    return start_live()
