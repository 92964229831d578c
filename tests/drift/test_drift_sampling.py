"""Drift is found while the gateway runs: counted, and logged once without a value, after the answer was sent."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox, Target
from gateway.server.config import gateway_config
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.contract import CUSTOMER, MESSAGES, THREAD, Route
from gateway.upstream.drift.comparison import DriftKind, Sample, known_values
from gateway.upstream.drift.sampling import DriftSampling
from tests.drift.provoked import PROVOKED
from tests.harness import NO_CERTIFICATES, settings, with_account
from tests.programs import until

QUERY = """{
  thread(id: "th-1") { id status updatedAt messages(first: 5) { totalCount nodes { id priority } } }
  customer(externalId: "cu-1") { id }
}"""
SECRET = "Bearer of the webhook"


class Observed:
    """A gateway whose counts and log lines of drift can be seen."""

    def __init__(
        self, http: httpx.Client, url: str, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.http = http
        self.url = url
        self._registry = registry
        self._caplog = caplog

    def count(self, kind: DriftKind, route: str) -> float:
        labels = {"route": route, "kind": kind.value}
        return self._registry.get_sample_value("gochat_gateway_upstream_drift_total", labels) or 0

    @property
    def metrics(self) -> set[str]:
        """The names of all metrics."""
        return {each.name for each in self._registry.collect()}

    @property
    def lines(self) -> list[dict[str, Any]]:
        records = [each for each in self._caplog.records if "differs from its contract" in each.message]
        return [each.__dict__["fields"] for each in records]

    def ask(self, query: str = QUERY) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post("/graphql", json={"query": query}).json()
        return answer


Observe = Callable[..., Observed]


@pytest.fixture
def observe(request: pytest.FixtureRequest, upstream: str, caplog: pytest.LogCaptureFixture) -> Observe:
    servers = request.getfixturevalue("servers")
    logging.getLogger("gateway").setLevel(logging.INFO)

    def start(**overrides: Any) -> Observed:
        given = {"upstream_url": upstream, "metrics_port": 0, "drift_sample": 1, **with_account(**overrides)}
        app = create_app(settings(**given))
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        return Observed(servers.enter_context(client), url, app.state.metrics.registry, caplog)

    return start


@pytest.fixture
def enums(tmp_path: Path) -> Path:
    path = tmp_path / "enums.json"
    path.write_text(json.dumps({"ThreadStatus": {"Open": "Open", "Waiting": "Waiting"}}))
    return path


IN_A_RESPONSE = [kind for kind in DriftKind if kind not in (DriftKind.MISSING_FIELD, DriftKind.WEBHOOK_SHAPE)]


@pytest.mark.parametrize("kind", IN_A_RESPONSE)
def test_each_kind_is_counted_and_logged_with_its_place(
    observe: Observe, sandbox: Sandbox, enums: Path, kind: DriftKind
) -> None:
    provoked = PROVOKED[kind]
    gateway = observe(enums=enums)
    sandbox.faults.add(provoked.fault)
    gateway.ask()
    until(lambda: kind in [each["kind"] for each in gateway.lines], "it is logged")
    assert gateway.count(kind, provoked.template) >= 1
    line = next(each for each in gateway.lines if each["kind"] == kind)
    assert (line["route"], line["path"], line["came"]) == (provoked.template, provoked.path, provoked.came)
    assert line.get("value") == ("archived" if kind is DriftKind.NEW_ENUM_VALUE else None)
    before = len(gateway.lines)
    count = gateway.count(kind, provoked.template)
    gateway.ask()
    until(lambda: gateway.count(kind, provoked.template) > count, "it is counted again")
    assert len(gateway.lines) == before, "each route, kind and path is one line"


@pytest.mark.slow  # it waits for a hundred responses
def test_a_field_that_a_hundred_responses_lack_is_missing(observe: Observe, sandbox: Sandbox) -> None:
    gateway = observe()
    provoked = PROVOKED[DriftKind.MISSING_FIELD]
    sandbox.faults.add(provoked.fault)

    def is_counted() -> bool:
        gateway.ask()
        return gateway.count(DriftKind.MISSING_FIELD, provoked.template) >= 1

    until(is_counted, "it is counted")
    assert sandbox.count("thread") >= 100
    assert "updated_at" in [each["path"] for each in gateway.lines if each["kind"] == DriftKind.MISSING_FIELD]


def test_an_event_that_is_not_understood_is_drift(observe: Observe, sandbox: Sandbox) -> None:
    gateway = observe(webhook_authorization=SECRET)
    provoked = PROVOKED[DriftKind.WEBHOOK_SHAPE]
    sandbox.faults.add(provoked.fault)
    sandbox.webhooks.send_to(Target(f"{gateway.url}/webhooks/gochat", SECRET))
    sandbox.store.change_thread("th-1", {"status": 3})
    until(lambda: len(gateway.lines) == 1, "it is logged")
    assert gateway.count(DriftKind.WEBHOOK_SHAPE, "webhook") == 1
    (line,) = gateway.lines
    assert (line["path"], line["came"]) == (provoked.path, provoked.came)


def test_a_body_that_a_plan_does_not_expect_is_examined_although_it_was_not_its_turn(
    observe: Observe, sandbox: Sandbox
) -> None:
    gateway = observe(drift_sample=1000)
    sandbox.faults.add(PROVOKED[DriftKind.WRONG_TYPE].fault)
    gateway.ask()
    until(lambda: gateway.count(DriftKind.WRONG_TYPE, MESSAGES.template) == 1, "it is counted")


def test_what_follows_the_contract_is_no_drift(observe: Observe, sandbox: Sandbox) -> None:
    gateway = observe()
    for thread in ("th-1", "th-2", "th-big", "th-unknown"):
        gateway.ask(QUERY.replace("th-1", thread))
    sandbox.faults.add(Fault("thread", patch={"colour": 1}))
    gateway.ask()
    until(lambda: gateway.count(DriftKind.UNKNOWN_FIELD, THREAD.template) == 1, "the last one is examined")
    until(lambda: [each["path"] for each in gateway.lines] == ["colour"], "it is the only line")


def test_zero_switches_it_off(observe: Observe, sandbox: Sandbox) -> None:
    gateway = observe(drift_sample=0)
    sandbox.faults.add(PROVOKED[DriftKind.WRONG_TYPE].fault)
    gateway.ask()
    assert gateway.count(DriftKind.WRONG_TYPE, MESSAGES.template) == 0
    assert "gochat_gateway_upstream_drift" not in gateway.metrics
    assert gateway.lines == []


THREAD_BODY = json.dumps({"id": "1", "colour": 1}).encode()


def taken(sampling: DriftSampling, count: int, status: int = 200, route: Route = THREAD) -> int:
    """Return how many of so many responses are to be examined."""
    return sum(sampling.wants(route, status, ResponseOrigin.FETCHED) for _ in range(count))


def test_one_response_in_so_many_of_each_route_is_taken_and_each_unusual_one() -> None:
    sampling = DriftSampling(100, {})
    assert taken(sampling, 1000) == 10
    assert taken(sampling, 50, route=CUSTOMER) == 0
    assert taken(sampling, 50, route=CUSTOMER) == 1
    assert taken(sampling, 1000, 404) == 10
    assert taken(sampling, 10, 418) == 10


def test_a_response_of_the_cache_or_of_another_call_is_not_taken_again() -> None:
    sampling = DriftSampling(1, {})
    wanted = {origin for origin in ResponseOrigin if sampling.wants(THREAD, 200, origin)}
    assert wanted == {ResponseOrigin.FETCHED}


async def run_soon(sampling: DriftSampling, samples: list[Sample]) -> None:
    """Examine samples, and return when that is done."""
    sampling.examine(samples)
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, done.set)
    await done.wait()


async def test_what_is_too_large_or_too_much_is_dropped() -> None:
    sampling = DriftSampling(1, {}, delay=0)
    large = THREAD_BODY + b" " * 600_000
    await run_soon(sampling, [Sample(THREAD, "/", 200, large)])
    assert sampling.counts.total() == 0
    await run_soon(sampling, [Sample(THREAD, "/", 200, THREAD_BODY[:]) for _ in range(5)])
    assert sampling.counts.total() == 1, "one body twice is one"
    bodies = [json.dumps({"id": str(each), "colour": 1}).encode() for each in range(100)]
    await run_soon(sampling, [Sample(THREAD, "/", 200, each) for each in bodies])
    assert sampling.counts[THREAD.template, "unknown_field"] == 21


async def test_missing_fields_are_looked_for_in_small_bodies_only_and_not_for_ever() -> None:
    def bodies(padding: str) -> list[Sample]:
        contents = ({"id": str(each), "contacts": [padding]} for each in range(4))
        return [Sample(THREAD, "/", 200, json.dumps(each).encode()) for each in contents]

    sampling = DriftSampling(1, {}, enough=4, delay=0)
    await run_soon(sampling, bodies("x" * 70_000))
    assert sampling.counts.total() == 0
    sampling = DriftSampling(1, {}, enough=4, delay=0)
    await run_soon(sampling, bodies(""))
    found = sampling.counts[THREAD.template, "missing_field"]
    assert found > 0
    for _ in range(3):
        await run_soon(sampling, bodies(""))
    assert sampling.counts[THREAD.template, "missing_field"] == found, "each is found once"


async def test_an_examination_ends_when_its_time_is_over() -> None:
    """A millisecond for each 64 KB: here each look at the clock takes a tenth of one."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.0001
        return now[0]

    sampling = DriftSampling(1, {}, delay=0, clock=clock)
    messages = [{"id": str(each), f"field_{each}": 1} for each in range(1000)]
    body = json.dumps({"messages": messages, "total": 1000}).encode()
    assert len(body) < 64 * 1024
    await run_soon(sampling, [Sample(MESSAGES, "/", 200, body)])
    assert sampling.counts.total() == 9, "the page, and nine messages"


async def test_so_many_lines_are_logged_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    sampling = DriftSampling(1, known_values({}), delay=0)
    for part in range(5):
        body = {"id": "1", **{f"field_{part}_{each}": 1 for each in range(90)}}
        await run_soon(sampling, [Sample(THREAD, "/", 200, json.dumps(body).encode())])
    assert sampling.counts.total() == 450
    assert len([each for each in caplog.records if "differs from its contract" in each.message]) == 200
