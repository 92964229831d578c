"""A worker whose event loop stood still, as on a machine that was suspended: what clients sent meanwhile is in time."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.sandbox import BackgroundServer
from gateway.server.config import gateway_config
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings
from tests.web.streams.sockets import ACK, opened

pytestmark = pytest.mark.slow  # the loop stands still for seconds


@dataclass(frozen=True, slots=True)
class Starved:
    """A gateway whose event loop can be stopped."""

    gateway: Gateway
    stopped: threading.Event

    @contextmanager
    def standing_still(self, seconds: float) -> Iterator[None]:
        """Stop the event loop; the block runs while it stands still."""
        stopping = threading.Thread(target=self.gateway.http.get, args=[f"/stand-still?{seconds}"])
        stopping.start()
        assert self.stopped.wait(30)
        yield
        stopping.join()


@pytest.fixture
def starved(servers: ExitStack, upstream: str) -> Starved:
    app = create_app(settings(**{"upstream_url": upstream, **SERVICE, "heartbeat": 1}))
    stopped = threading.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/stand-still":
            stopped.set()
            time.sleep(float(scope["query_string"]))  # noqa: ASYNC251 - it has to block
        await app(scope, receive, send)

    url = servers.enter_context(BackgroundServer(gateway_config(application))).url
    http = servers.enter_context(httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30))
    return Starved(Gateway(http, url), stopped)


def test_an_initialisation_that_arrived_in_time_is_accepted(starved: Starved) -> None:
    with opened(starved.gateway) as socket:
        with starved.standing_still(3.5):
            socket.send({"type": "connection_init"})
        assert socket.receive() == ACK


def test_an_answer_to_a_ping_that_arrived_in_time_is_counted(starved: Starved) -> None:
    with opened(starved.gateway) as socket:
        socket.begin()
        assert socket.receive() == {"type": "ping"}
        with starved.standing_still(2):
            socket.send({"type": "pong"})
        assert socket.receive() == {"type": "ping"}
