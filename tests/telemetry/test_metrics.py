"""Each metric changes with the events that it counts, and client input adds no series."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.api_keys import generate_api_key
from gateway.sandbox import Fault, Sandbox
from gateway.telemetry.metrics import watched_loop
from tests.harness import Clock
from tests.programs import until
from tests.telemetry.conftest import Watch, Watched
from tests.writes.uploads.forms import form, post, upload

THREAD = '{ thread(id: "th-1") { id } }'
THREAD_ROUTE = "/api/v1/thread/{id}"


def batch(gateway: Watched, *documents: str) -> Any:
    return gateway.http.post("/graphql", json=[{"query": each} for each in documents]).json()


def test_what_alerts_count_exists_before_the_first_event(watch: Watch) -> None:
    """Prometheus sees no increase in a series that begins with its first event."""
    series = watch().scrape().series
    for code in ("OK", "INTERNAL_ERROR"):
        assert ("gochat_gateway_operations_total", (("code", code), ("type", "query"))) in series
    for result in ("ok", "failed"):
        assert ("gochat_gateway_jwks_fetches_total", (("result", result),)) in series


def test_operations_are_counted_by_type_and_code_and_timed(watch: Watch) -> None:
    gateway = watch()
    for document in (THREAD, THREAD, "{ nothing }", "{", '{ thread(id: "..") { id } }'):
        gateway.query(document)
    now = gateway.scrape()
    assert now.value("operations_total", type="query", code="OK") == 2
    assert now.value("operations_total", type="query", code="BAD_USER_INPUT") == 1
    assert now.value("operations_total", type="unknown", code="GRAPHQL_VALIDATION_FAILED") == 1
    assert now.value("operations_total", type="unknown", code="GRAPHQL_PARSE_FAILED") == 1
    assert now.value("operation_duration_seconds_count", type="query", executor="plan") == 2
    assert now.value("operation_duration_seconds_count", type="query", executor="reference") == 1
    assert 0 < now.value("operation_duration_seconds_sum") < 60
    assert now.value("operations_in_flight") == 0


def test_durations_are_in_seconds(watch: Watch, sandbox: Sandbox) -> None:
    """The REST API holds a call for a while. Its durations lie between that time and the whole time of the query."""
    gateway = watch()
    gateway.data('{ customer(externalId: "c0000") { id } }')  # logs in
    before = gateway.scrape()
    sandbox.clear()
    sandbox.faults.add(Fault("thread", hold="a while"))
    with ThreadPoolExecutor(1) as pool:
        started = time.perf_counter()
        asked = pool.submit(gateway.data, THREAD)
        sandbox.wait_for_calls(1, "thread")
        arrived = time.perf_counter()
        until(lambda: time.perf_counter() > arrived + 0.05, "the call is held for a while")
        held = time.perf_counter() - arrived
        sandbox.release("a while")
        asked.result()
        whole = time.perf_counter() - started
    now = gateway.scrape()
    request = {"name": "upstream_request_duration_seconds", "route": THREAD_ROUTE}
    operation = {"name": "operation_duration_seconds", "type": "query", "executor": "plan"}
    for metric in (request, operation):
        name = metric.pop("name")
        seconds = now.value(f"{name}_sum", **metric) - before.value(f"{name}_sum", **metric)
        assert held <= seconds <= whole, name
        for bound in now.labels(f"{name}_bucket", "le"):
            bucket = {**metric, "le": bound}
            counted = now.value(f"{name}_bucket", **bucket) - before.value(f"{name}_bucket", **bucket)
            assert counted == (1 if float(bound) >= seconds else 0), f"{name}: {bound}"


def test_connections_are_shown_with_what_became_of_them(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch(upstream_retries=0)
    gateway.data(THREAD)
    now = gateway.scrape()
    assert [now.value("upstream_connections", state=each) for each in ("idle", "busy")] == [1, 0]
    sandbox.faults.add(Fault("thread", drop="before", times=1))
    gateway.data(THREAD)
    now = gateway.scrape()
    assert now.value("upstream_reconnects_total") == 1
    assert now.value("upstream_connections_discarded_total") == 1
    assert now.value("upstream_connections", state="idle") == 1
    assert now.value("upstream_retries_total") == 0


def test_responses_are_counted_by_status(watch: Watch) -> None:
    gateway = watch()
    gateway.data(THREAD)
    gateway.http.put("/graphql")
    gateway.http.post("/graphql", json={"query": 1})
    now = gateway.scrape()
    assert [now.value("http_responses_total", status=status) for status in ("200", "400", "405")] == [1, 1, 1]


def test_uploaded_files_are_shown_and_requests_without_room_counted(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch(mutations=True, upload_directory_max_bytes=32 * 2**20)
    sandbox.faults.add(Fault("message", hold="gate", times=1))
    large = form(upload([bytes(8 * 2**20)] * 3))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(post, gateway, large)
        sandbox.wait_for_calls(1, route="message")
        assert gateway.scrape().value("upload_bytes") == 3 * (8 * 2**20 + 64 * 1024)
        assert post(gateway, large).status_code == 503
        sandbox.release("gate")
        assert held.result(30).status_code == 200
    until(lambda: gateway.scrape().value("upload_bytes") == 0, "the files are gone")
    refused = gateway.scrape()
    assert refused.value("requests_without_room_total", room="disk") == 1
    assert refused.value("requests_without_room_total", room="memory") == 0


def test_rest_calls_are_counted_by_source_and_outcome_and_each_request_is_timed(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch()
    sandbox.faults.add(Fault("thread", match="th-1", times=1, status=503))
    gateway.data(THREAD)
    gateway.query('{ thread(id: "nowhere") { id } }')
    now = gateway.scrape()
    assert now.value("upstream_calls_total", route=THREAD_ROUTE, source="fetched", outcome="200") == 1
    assert now.value("upstream_calls_total", route=THREAD_ROUTE, source="fetched", outcome="404") == 1
    assert now.value("upstream_retries_total", route=THREAD_ROUTE) == 1
    requests = "upstream_request_duration_seconds_count"
    assert [now.value(requests, route=THREAD_ROUTE, outcome=each) for each in ("200", "404", "503")] == [1, 1, 1]
    assert now.value(requests, route="/api/v1/token", outcome="200") == 1, "logins are counted as well"


@pytest.mark.parametrize(
    ("fault", "call", "request_"),
    [
        (Fault("thread", drop="before"), "UPSTREAM_UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
        (Fault("thread", hold="for ever"), "UPSTREAM_TIMEOUT", "cancelled"),
        (Fault("thread", status=599), "other", "other"),
    ],
    ids=["dropped", "too slow", "no registered status"],
)
def test_failed_calls_are_counted_by_outcome(
    watch: Watch, sandbox: Sandbox, fault: Fault, call: str, request_: str
) -> None:
    gateway = watch(upstream_retries=0)
    gateway.data('{ customer(externalId: "c0000") { id } }')  # logs in, so that the deadline covers only the next call
    sandbox.faults.add(fault)
    gateway.http.post("/graphql", json={"query": THREAD}, headers={"gateway-timeout": "1"})
    now = gateway.scrape()
    assert now.value("upstream_calls_total", route=THREAD_ROUTE, outcome=call) == 1
    assert now.value("upstream_request_duration_seconds_count", route=THREAD_ROUTE, outcome=request_) == 1


def test_calls_that_share_a_request_are_counted_as_coalesced(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch(max_batch=2)
    batch(gateway, THREAD, THREAD)
    now = gateway.scrape()
    assert now.value("upstream_calls_total", route=THREAD_ROUTE, source="coalesced", outcome="200") == 1
    assert now.value("upstream_request_duration_seconds_count", route=THREAD_ROUTE) == sandbox.count("thread") == 1


def test_calls_in_flight_and_queued_are_shown_and_rejected_ones_counted(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch(upstream_max_concurrency=1, upstream_max_queue=1)
    gateway.data(THREAD)
    sandbox.faults.add(Fault("thread", hold="a while"))

    def shown() -> list[float]:
        now = gateway.scrape()
        return [now.value(name) for name in ("upstream_in_flight", "upstream_queued", "operations_in_flight")]

    with ThreadPoolExecutor(2) as pool, ExitStack() as stack:
        stack.callback(sandbox.release, "a while")  # also where the test fails: the pool waits for the operations
        asked = [pool.submit(gateway.query, f'{{ thread(id: "th-{number}") {{ id }} }}') for number in (1, 2)]
        until(lambda: gateway.scrape().value("upstream_queued") == 1, "a call waits for a slot")
        rejected = gateway.query('{ thread(id: "th-3") { id } }')
        assert shown() == [1, 1, 2]
    assert [each["extensions"]["code"] for each in rejected["errors"]] == ["UPSTREAM_UNAVAILABLE"]
    assert gateway.scrape().value("upstream_shed_total") == 1
    assert ["errors" in each.result() for each in asked] == [False, False]
    assert shown() == [0, 0, 0]


def test_a_circuit_shows_its_state_and_counts_refused_calls(watch: Watch, sandbox: Sandbox, clock: Clock) -> None:
    gateway = watch(clock.timing, breaker_min_volume=2, breaker_failure_rate=0.6, breaker_pause=5, upstream_retries=0)

    def state() -> str:
        now = gateway.scrape()
        (one,) = (
            each
            for each in ("closed", "open", "half-open")
            if now.value("breaker_state", route=THREAD_ROUTE, state=each)
        )
        return one

    gateway.data(THREAD)
    states = [state()]
    sandbox.faults.add(Fault("thread", status=500, times=2))
    for _ in range(3):
        gateway.query(THREAD)
    states.append(state())
    clock.now += 5
    gateway.data(THREAD)
    states.append(state())
    now = gateway.scrape()
    assert states == ["closed", "open", "closed"]
    assert now.value("breaker_opened_total", route=THREAD_ROUTE) == 1
    assert now.value("breaker_refused_total", route=THREAD_ROUTE) == 1
    assert now.value("upstream_calls_total", route=THREAD_ROUTE, outcome="UPSTREAM_UNAVAILABLE") == 1


def test_the_cache_counts_hits_misses_and_stale_responses(watch: Watch, sandbox: Sandbox, clock: Clock) -> None:
    gateway = watch(clock.timing, cache_url="memory://", cache_stale_if_error=60, upstream_retries=0)
    for _ in range(5):  # the later answers are made of the first
        gateway.data(THREAD)
    clock.now += 30
    sandbox.faults.add(Fault("thread", status=500))
    gateway.data(THREAD)
    now = gateway.scrape()
    # The failed call before the stale response is counted as a miss.
    assert {each: now.value("cache_lookups_total", result=each) for each in ("hit", "miss", "stale")} == {
        "hit": 4,
        "miss": 2,
        "stale": 1,
    }
    assert {each: now.value("upstream_calls_total", source=each) for each in ("fetched", "cached", "stale")} == {
        "fetched": 1,
        "cached": 4,
        "stale": 1,
    }


def test_a_failed_background_renewal_is_counted(watch: Watch, sandbox: Sandbox, clock: Clock) -> None:
    gateway = watch(clock.timing, cache_url="memory://", cache_stale_while_revalidate=60, upstream_retries=0)
    gateway.data(THREAD)
    clock.now += 30
    sandbox.faults.add(Fault("thread", status=500))
    gateway.data(THREAD)
    until(lambda: gateway.scrape().value("cache_renewals_failed_total") == 1, "the renewal fails")


def test_failures_of_redis_are_counted(watch: Watch) -> None:
    gateway = watch(cache_url="redis://127.0.0.1:1", cache_secret="a secret of 16 characters", rate_limit="9/minute")
    gateway.data(THREAD)
    now = gateway.scrape()
    assert now.value("cache_store_failures_total") > 0
    assert now.value("rate_store_failures_total") > 0


def test_the_tokens_age_and_a_rejected_account_are_shown(watch: Watch, sandbox: Sandbox, clock: Clock) -> None:
    gateway = watch(clock.timing)
    assert "gochat_gateway_token_age_seconds" not in {each.name for each in gateway.scrape().samples}
    gateway.data(THREAD)
    clock.now += 100
    now = gateway.scrape()
    assert (now.value("token_age_seconds"), now.value("account_rejected")) == (100, 0)
    clock.now += 3600
    sandbox.faults.add(Fault("token", status=401))
    gateway.query(THREAD)
    now = gateway.scrape()
    assert now.value("account_rejected") == 1
    assert "gochat_gateway_token_age_seconds" not in {each.name for each in now.samples}


def test_plans_are_counted_and_the_reasons_for_none(watch: Watch, sandbox: Sandbox) -> None:
    gateway = watch()
    gateway.data(THREAD)
    gateway.data("{ __schema { queryType { name } } }")
    sandbox.faults.add(Fault("thread", patch={"status": ["of no such type"]}))
    gateway.query('{ thread(id: "th-2") { status } }')
    now = gateway.scrape()
    results = {each: now.value("plans_total", result=each) for each in ("planned", "not_plannable", "stood_aside")}
    assert results == {"planned": 1, "not_plannable": 1, "stood_aside": 1}
    assert "unexpected value" in now.labels("plans_total", "reason")
    assert now.value("documents_kept") == 3


def test_refused_callers_are_counted(watch: Watch, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(generate_api_key("mobile-app", [], None)[1])
    gateway = watch(inbound_auth="api_key", api_keys_file=keys, auth_failure_limit="2/hour")
    for _ in range(4):
        gateway.http.post("/graphql", json={"query": THREAD}, headers={"x-api-key": "wrong"})
    now = gateway.scrape()
    assert now.value("auth_failures_total") == 3
    assert now.value("auth_failures_limited_total") == 1
    open_gateway = watch(rate_limit="1/hour")
    for _ in range(3):
        open_gateway.http.post("/graphql", json={"query": THREAD})
    assert open_gateway.scrape().value("rate_limited_total") == 2


def test_the_event_loop_the_process_and_the_version_are_exported(watch: Watch) -> None:
    gateway = watch()
    until(lambda: gateway.scrape().value("event_loop_lag_seconds_count") > 0, "the event loop's lag is measured")
    now = gateway.scrape()
    assert now.value("build_info") == 1
    assert {"process_resident_memory_bytes", "python_gc_collections_total"} <= {each.name for each in now.samples}
    assert not [each.name for each in now.samples if each.name.endswith("_created")]


async def test_the_lag_of_the_event_loop_is_how_long_it_was_blocked() -> None:
    measured: asyncio.Queue[float] = asyncio.Queue()
    async with watched_loop(measured.put_nowait, interval=0.001):
        await asyncio.sleep(0)  # the watch begins
        blocked = time.perf_counter() + 0.2
        while time.perf_counter() < blocked:
            pass
        assert 0.15 < await measured.get() < 60


@pytest.mark.parametrize(("hangs_up", "code"), [(False, "OK"), (True, "CLIENT_DISCONNECTED")])
def test_incremental_delivery_is_in_flight_until_its_last_part(
    watch: Watch, sandbox: Sandbox, hangs_up: bool, code: str
) -> None:
    gateway = watch(incremental=True)
    sandbox.faults.add(Fault("messages", hold="messages", times=1))
    document = '{ thread(id: "th-1") { id ... @defer { messages { totalCount } } } }'
    headers = {"accept": "multipart/mixed, application/json"}
    with gateway.http.stream("POST", "/graphql", json={"query": document}, headers=headers) as answer:
        pieces = answer.iter_text()
        assert '"id":"th-1"' in next(pieces)
        assert gateway.scrape().value("operations_in_flight") == 1
        if not hangs_up:
            sandbox.release("messages")
            assert "totalCount" in "".join(pieces)
    until(lambda: gateway.scrape().value("operations_total") == 1, "the operation has ended")
    now = gateway.scrape()
    assert now.value("operations_in_flight") == 0
    assert now.value("operations_total", type="query", code=code) == 1


@pytest.mark.slow  # it sends hundreds of requests
def test_what_clients_write_adds_no_series(watch: Watch) -> None:
    """Names of operations and fields, ids, paths, request ids, methods and bodies."""
    gateway = watch(max_batch=100)

    def write(mark: str) -> None:
        good = [{"query": f'query Q{mark}{n} {{ thread(id: "x{mark}{n}") {{ id }} }}'} for n in range(100)]
        named = [{"query": f"{{ f{mark}{n} }}", "operationName": f"N{mark}{n}"} for n in range(100)]
        for members in (good, named):
            assert gateway.http.post("/graphql", json=members, headers={"x-request-id": mark}).status_code == 200
        for method in ("PUT", f"M{mark.upper()}"):
            gateway.http.request(method, "/graphql")
        gateway.http.get(f"/nowhere/{mark}")
        gateway.http.post("/graphql", content=mark, headers={"content-type": f"text/{mark}"})

    write("first")
    before = gateway.scrape().series
    write("second")
    assert gateway.scrape().series == before


def test_without_a_port_there_are_no_metrics(start: Any) -> None:
    """`/metrics` is never on the port for callers."""
    gateway = start()
    assert gateway.http.get("/metrics").status_code == 404
