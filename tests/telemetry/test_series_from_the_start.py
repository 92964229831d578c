"""Each series of a labelled counter exists from the first scrape: Prometheus sees no increase where one begins at 1."""

from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from gateway.auth.api_keys import generate_api_key
from gateway.sandbox import Fault, Sandbox
from tests.docs.page import Page, code_of, table
from tests.harness import Clock
from tests.telemetry.conftest import Watch, Watched
from tests.telemetry.scrape import PREFIX, Scrape

OPEN = {
    "upstream_calls_total": "outcomes are whatever the REST API answers; the successes are known",
    "plans_total": "the reasons for no plan name types and fields; the reasons to stand aside are known",
}
"""The counters with a label whose values cannot be listed, with the reason. Their other series exist from the start."""
REST_ROUTES = {
    "/api/v1/thread/{id}",
    "/api/v1/thread/{id}/messages",
    "/api/v1/customers/{customer_external_id}",
    "/api/v1/message",
    "/api/v1/chat/token",
    "/api/v1/token",
}
ALL = {
    ("auth_failures_total", "reason"): {"API key", "expired", "signature", "claim aud", "unknown key", "no token"},
    ("breaker_opened_total", "route"): REST_ROUTES,
    ("breaker_refused_total", "route"): REST_ROUTES,
    ("breaker_state", "state"): {"closed", "open", "half-open"},
    ("cache_lookups_total", "result"): {"hit", "miss", "stale"},
    ("event_gaps_total", "reason"): {"overtaken", "place gone", "redis"},
    ("http_responses_total", "status"): {"200", "304", "400", "401", "403", "413", "429", "500", "503"},
    ("jwks_fetches_total", "result"): {"ok", "failed"},
    ("requests_without_room_total", "room"): {"memory", "disk"},
    ("mutations_total", "mutation"): {"updateThread", "createMessage", "createChatToken"},
    ("mutations_total", "outcome"): {"APPLIED", "NOT_APPLIED", "UNKNOWN", "ERROR"},
    ("operations_total", "type"): {"query", "mutation", "subscription", "unknown"},
    ("operations_total", "code"): {"OK", "INTERNAL_ERROR", "CLIENT_DISCONNECTED", "OUT_OF_DESCRIPTORS"},
    ("plans_total", "result"): {"planned", "stood_aside"},
    ("redis_failures_total", "user"): {"cache", "events", "idempotency", "login", "persisted", "rate", "webhook"},
    ("subscriptions_active", "transport"): {"sse", "multipart", "websocket"},
    ("subscriptions_ended_total", "reason"): {"client", "expired", "drain", "slow", "failed"},
    ("subscriptions_opened_total", "transport"): {"sse", "multipart", "websocket"},
    ("upstream_calls_total", "source"): {"fetched", "coalesced", "cached", "stale"},
    ("upstream_connections_discarded_total", "reason"): {"broken", "stray", "timed_out", "expired"},
    ("upstream_drift_total", "kind"): {"unknown_field", "missing_field", "wrong_type", "missing_id", "new_enum_value"}
    | {"unknown_status", "error_shape", "not_json", "pagination", "webhook_shape"},
    ("upstream_drift_total", "route"): (REST_ROUTES - {"/api/v1/token"}) | {"webhook"},
    ("upstream_held_total", "route"): REST_ROUTES - {"/api/v1/token"},
    ("upstream_retries_total", "route"): REST_ROUTES,
    ("webhooks_total", "outcome"): {"taken", "duplicate", "unknown", "authorization"},
    ("websocket_closes_total", "code"): {"1000", "1006", "1012", "4400", "4429", "other"},
}
"""What is in the first scrape, written out: at least these values of each label."""


def counters(scrape: Scrape) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return the series of the gateway's own counters."""
    own = {PREFIX + name for name, kind in unprefixed(scrape).items() if kind == "counter"}
    return {each for each in scrape.series if each[0] in own}


def unprefixed(scrape: Scrape) -> dict[str, str]:
    return {name.removeprefix(PREFIX): kind for name, kind in scrape.kinds.items() if name.startswith(PREFIX)}


@pytest.fixture
def first(watch: Watch, tmp_path: Path) -> Scrape:
    """Scrape a gateway that no client has used."""
    enums = tmp_path / "enums.json"
    enums.write_text('{"ThreadStatus": {"2": "Waiting"}}')
    return watch(enums=enums).scrape()


def test_the_first_scrape_has_the_documented_series(first: Scrape) -> None:
    missing = {place: values - first.labels(*place) for place, values in ALL.items()}
    assert not {place: values for place, values in missing.items() if values}


def test_every_counter_with_labels_begins_with_series_that_are_zero(first: Scrape) -> None:
    rows = table(Page("docs/reference/metrics.md").text)
    labelled = {code_of(name) for name, kind, labels, _meaning in rows if kind == "counter" and labels.strip()}
    assert len(labelled) >= 15
    for name in labelled:
        values = [each.value for each in first.samples if each.name == PREFIX + name]
        assert values, name
        assert not any(values), name


def test_no_event_adds_a_series_to_a_counter_whose_labels_are_closed(
    watch: Watch, sandbox: Sandbox, clock: Clock, tmp_path: Path
) -> None:
    key, line = generate_api_key("client", ["chat:profile"], None)
    keys = tmp_path / "keys.toml"
    keys.write_text(line)
    gateway = watch(
        clock.timing,
        inbound_auth="api_key",
        api_keys_file=keys,
        rate_limit="20/hour",
        cache_url="redis://127.0.0.1:1",
        cache_secret="a secret of 16 characters",
        breaker_min_volume=2,
        webhook_authorization="a secret of the webhook",
        mutations=True,
        subscriptions=True,
        drift_sample=1,
    )
    before = gateway.scrape()
    provoke(gateway, sandbox, key)
    after = gateway.scrape()
    changed = {each.name for each in after.samples if each.name.endswith("_total") and each.value}
    assert len({each for each in changed if each.startswith(PREFIX)}) >= 12, changed
    added = counters(after) - counters(before)
    assert {name.removeprefix(PREFIX) for name, _labels in added} <= set(OPEN), added


def provoke(gateway: Watched, sandbox: Sandbox, key: str) -> None:
    """Let every kind of thing happen that a counter counts, as far as requests can do it."""
    known = {"x-api-key": key}
    thread = {"query": '{ thread(id: "th-1") { id status } }'}
    update = {"query": 'mutation { updateThread(input: { id: "th-1", status: 3 }) { outcome } }'}
    for fault in (
        Fault("thread", status=503, times=1),
        Fault("thread", drop="before", times=1),
        Fault("thread", drop="mid-body", times=1),
        Fault("thread", status=429, times=1),
        Fault("thread", patch={"status": []}, times=1),
        Fault("thread", body=b"<html>", times=1),
        Fault("thread", status=401, times=1),
        Fault("thread", status=500, times=4),
        Fault("token", status=500, times=1),
    ):
        sandbox.faults.add(fault)
        with suppress(httpx.TransportError):
            gateway.http.post("/graphql", json=thread, headers=known)
    for body in (thread, update, {"query": "{"}, {"query": "{ nothing }"}, {"query": 1}, [thread] * 20):
        gateway.http.post("/graphql", json=body, headers=known)
        gateway.http.post("/graphql", json=body, headers={"x-api-key": "wrong"})
    gateway.http.post("/graphql", json=thread)
    gateway.http.post("/graphql", json=thread, headers={"authorization": "Bearer e30.e30.e30"})
    gateway.http.put("/graphql", headers=known)
    gateway.http.get("/graphql", params=update, headers=known)
    gateway.http.post("/graphql", content=b"x", headers={**known, "content-type": "text/plain"})
    gateway.http.post("/graphql", json=thread, headers={**known, "accept": "image/png"})
    gateway.http.post("/graphql", content=b"[" * 2_000_000, headers={**known, "content-type": "application/json"})
    for authorization in ("a secret of the webhook", "another"):
        gateway.http.post("/webhooks/gochat", json={}, headers={"authorization": authorization})
    for _ in range(20):
        gateway.http.post("/graphql", json=thread, headers=known)
