"""Nothing of a write but its name and its outcome is logged, traced, measured or kept: no contents, keys or tokens."""

import json
import logging
import os
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis as redis_client
from prometheus_client import generate_latest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox
from gateway.server.config import gateway_config
from gateway.telemetry import JsonFormatter
from gateway.telemetry.tracing_setup import build_tracing
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings
from tests.telemetry.collector import Collector
from tests.upstream.redis_server import RedisServer
from tests.writes.documents import UPDATE, send, token, update
from tests.writes.uploads.forms import sent, upload

pytestmark = pytest.mark.slow

MARK = "marked"
OUTCOMES = [
    ("updateThread", "APPLIED"),
    ("updateThread", "ERROR"),
    ("createMessage", "APPLIED"),
    ("createMessage", "NOT_APPLIED"),
    ("createMessage", "APPLIED"),
    ("createChatToken", "APPLIED"),
    ("createChatToken", "UNKNOWN"),
]


@pytest.fixture
def collector(servers: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """What runs longer than the gateway, which sends its last spans when it ends."""
    running = servers.enter_context(Collector())
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
    return running


@pytest.fixture
def app(upstream: str, server: RedisServer, collector: Collector) -> Any:  # noqa: ARG001 - it is in the environment
    """A gateway that logs, traces, measures and caches all it can."""
    options = {
        **SERVICE,
        "upstream_url": upstream,
        "mutations": True,
        "cache_url": server.url,
        "cache_secret": "a secret of the tests",
        "cache_timeout": 5,
        "cache_ttl_thread": 60,
        "metrics_port": 0,
        "log_level": "debug",
        "explain": True,
    }
    return create_app(settings(**options), tracing=build_tracing(os.environ))


@pytest.fixture
def gateway(servers: ExitStack, app: Any) -> Gateway:
    url = servers.enter_context(BackgroundServer(gateway_config(app))).url
    headers = {"gateway-explain": "1"}
    client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30, headers=headers)
    return Gateway(servers.enter_context(client), url)


def write(gateway: Gateway, sandbox: Sandbox) -> str:
    """Send every write with marks in all that it has, once with each outcome; return the token."""
    update(gateway, comment=f"{MARK} comment", idempotencyKey=f"{MARK}-key-1")
    sandbox.faults.add(Fault("update_thread", times=1, status=403))
    assert gateway.code(UPDATE, input={"id": "th-1", "comment": f"{MARK} comment"}) == "FORBIDDEN"
    send(gateway, content=f"{MARK} content", subject=f"{MARK} subject", idempotencyKey=f"{MARK}-key-2")
    send(gateway, to=f"{MARK}@nowhere.example", content=f"{MARK} content")
    sent(gateway, upload([f"{MARK} bytes".encode()], f"{MARK}-name.pdf"))
    created: str = token(gateway, externalId=f"{MARK}-customer", idempotencyKey=f"{MARK}-key-3")["token"]
    sandbox.faults.add(Fault("chat_token", times=1, drop="mid-body", carry_out=True))
    token(gateway, externalId=f"{MARK}-customer")
    return created


def kept(server: RedisServer) -> bytes:
    """Return everything in Redis."""
    with redis_client.Redis.from_url(server.url) as client:
        keys: Any = client.keys()
        texts = [key for key in keys if client.type(key) == b"string"]
        return b"\n".join([*keys, *(client.get(key) or b"" for key in texts)])


def test_only_the_name_and_the_outcome_of_a_write_are_seen(
    app: Any,
    gateway: Gateway,
    sandbox: Sandbox,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "gateway")
    created = write(gateway, sandbox)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    logged = [json.loads(line) for line in lines]
    written = [line["writes"] for line in logged if line["message"] == "operation"]
    assert written == [[{"mutation": mutation, "outcome": outcome}] for mutation, outcome in OUTCOMES]
    spans = collector.until(lambda spans: sum(span.name == "mutation" for span in spans) == len(OUTCOMES))
    assert spans
    measured = generate_latest(app.state.metrics.registry).decode()
    for mutation, outcome in OUTCOMES:
        number = OUTCOMES.count((mutation, outcome))
        assert f'mutations_total{{mutation="{mutation}",outcome="{outcome}"}} {number}.0' in measured
    seen = {"log": "\n".join(lines).encode(), "spans": collector.raw, "metrics": measured.encode()}
    assert [(place, mark) for place, text in seen.items() for mark in (MARK, created) if mark.encode() in text] == []


def test_redis_has_no_keys_no_tokens_and_nothing_that_cannot_be_read(
    gateway: Gateway, sandbox: Sandbox, server: RedisServer
) -> None:
    """What a thread shows may be there: it is cached as any response."""
    created = write(gateway, sandbox)
    in_redis = kept(server)
    assert b"idempotency:" in in_redis
    unseen = [created, f"{MARK}-key", f"{MARK} comment", f"{MARK}@nowhere.example", f"{MARK}-customer", f"{MARK} bytes"]
    assert [mark for mark in unseen if mark.encode() in in_redis] == []
