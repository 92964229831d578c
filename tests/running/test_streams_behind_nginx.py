"""Streams through nginx, with the configuration in docker/."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox
from gateway.server.config import gateway_config
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings
from tests.running.proxy import nginx
from tests.web.streams.responses import EVENTS, PARTS, events_of, parts_of, streamed
from tests.web.streams.sockets import begun

pytestmark = pytest.mark.slow

WATCH = 'subscription { threadUpdated(id: "t") { status } }'
Change = Callable[[str], None]


@pytest.fixture
def change(sandbox: Sandbox) -> Change:
    return lambda status: sandbox.store.put_thread({"id": "t", "status": status})


@pytest.fixture
def proxied(servers: ExitStack, upstream: str, tmp_path: Path, change: Change) -> Iterator[Gateway]:
    """A gateway that follows the sandbox, behind nginx."""
    change("Open")
    chosen = settings(upstream_url=upstream, **SERVICE, resync_interval=0.1, heartbeat=0.2)
    server = servers.enter_context(BackgroundServer(gateway_config(create_app(chosen))))
    url = servers.enter_context(nginx([server.port, server.port], tmp_path))
    with httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30) as client:
        yield Gateway(client, url)


def state(status: str) -> dict[str, object]:
    return {"data": {"threadUpdated": {"status": status}}}


def test_events_arrive_as_they_happen(proxied: Gateway, change: Change) -> None:
    with streamed(proxied, WATCH, EVENTS) as response:
        results = (each.data for each in events_of(response) if each.type == "next")
        assert next(results) == state("Open")
        change("Closed")
        assert next(results) == state("Closed")


def test_parts_arrive_as_they_happen(proxied: Gateway, change: Change) -> None:
    with streamed(proxied, WATCH, PARTS) as response:
        results = (each["payload"] for each in parts_of(response) if each)
        assert next(results) == state("Open")
        change("Closed")
        assert next(results) == state("Closed")


def test_a_page_that_nginx_serves_may_open_a_websocket(proxied: Gateway, change: Change) -> None:
    """Its origin has the port of nginx, and so must the host that the gateway compares it with."""
    with begun(proxied, headers={"Origin": proxied.url}) as socket:
        socket.subscribe("1", WATCH)
        for status in ("Open", "Closed"):
            while (message := socket.receive())["type"] == "ping":
                socket.send({"type": "pong"})
            assert message["payload"] == state(status)
            change("Closed")
