"""Traces as a collector receives them."""

import hashlib
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import strawberry
from starlette.routing import Route

from gateway.app import create_app
from gateway.execution.engine import Engine, EngineOptions
from gateway.sandbox import PASSWORD, BackgroundServer, Fault, Sandbox
from gateway.schema import Enumerations, FederatedSchema, Query, SchemaOptions
from gateway.server.config import gateway_config
from gateway.telemetry.tracing import Tracing
from gateway.telemetry.tracing_setup import build_tracing
from gateway.web.graphql.endpoint import GraphQLEndpoint
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings, with_account
from tests.programs import Start, serving
from tests.telemetry.collector import Collector, Received

THREAD = 'query Inbox { thread(id: "th-1") { id } }'
ROUTE = "GET /api/v1/thread/{id}"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVER, CLIENT = 2, 3

Trace = Callable[..., Gateway]


@pytest.fixture(autouse=True)
def _no_variables_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def trace(servers: ExitStack, upstream: str, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Trace:
    """Start a gateway that sends its traces to the collector."""

    def start(**overrides: Any) -> Gateway:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracing = build_tracing(os.environ)
        assert tracing is not None
        app = create_app(settings(**{"upstream_url": upstream, **with_account(**overrides)}), tracing=tracing)
        url = servers.enter_context(BackgroundServer(gateway_config(app))).url
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        return Gateway(servers.enter_context(client), url)

    return start


def operations(spans: list[Received]) -> list[Received]:
    return [each for each in spans if each.kind == SERVER]


def only(spans: list[Received], name: str) -> Received:
    (span,) = (each for each in spans if each.name == name)
    return span


def test_an_operation_its_document_its_plan_and_each_rest_call_are_spans(trace: Trace, collector: Collector) -> None:
    gateway = trace()
    gateway.http.post("/graphql", json={"query": THREAD}, headers={"x-request-id": "mine"})
    spans = collector.until(lambda spans: bool(operations(spans)))
    operation = only(spans, "query")
    children = {each.name for each in spans if each.parent == operation.id}
    assert {"document", "plan", ROUTE} <= children
    assert {each.trace for each in spans} == {operation.trace}
    assert operation.kind == SERVER
    assert operation.parent == ""
    assert operation.attributes["graphql.operation.type"] == "query"
    assert operation.attributes["graphql.operation.name"] == "Inbox"
    assert operation.attributes["gochat_gateway.request_id"] == "mine"
    assert operation.attributes["gochat_gateway.executor"] == "plan"
    assert re.fullmatch("[0-9a-f]{16}", operation.attributes["gochat_gateway.document"])
    call = only(spans, ROUTE)
    assert call.kind == CLIENT
    assert call.attributes["http.request.method"] == "GET"
    assert call.attributes["http.response.status_code"] == 200
    assert call.attributes["url.template"] == "/api/v1/thread/{id}"
    assert call.attributes["server.address"] == "127.0.0.1"
    assert call.attributes["server.port"] > 0
    assert not call.failed
    assert call.resource["service.name"] == "gochat-gateway"


def test_the_span_of_an_operation_that_does_not_parse_has_its_document(trace: Trace, collector: Collector) -> None:
    trace().query("{")
    (operation,) = operations(collector.until(lambda spans: bool(operations(spans))))
    assert operation.attributes["gochat_gateway.document"] == hashlib.sha256(b"{").hexdigest()[:16]


def test_the_span_of_an_incremental_operation_has_what_its_first_payload_says(
    trace: Trace, collector: Collector
) -> None:
    deferred = 'query Later { thread(id: "th-1") { id ... @defer { status } } }'
    headers = {"accept": "multipart/mixed;deferSpec=20220824, application/json", "x-request-id": "mine"}
    response = trace(incremental=True).http.post("/graphql", json={"query": deferred}, headers=headers)
    assert response.headers["content-type"].startswith("multipart/mixed")
    (operation,) = operations(collector.until(lambda spans: bool(operations(spans))))
    assert operation.attributes["graphql.operation.name"] == "Later"
    assert operation.attributes["gochat_gateway.request_id"] == "mine"


def test_the_span_of_an_incremental_operation_without_a_name_has_the_error_of_its_first_payload(
    trace: Trace, collector: Collector, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("thread", "th-2", status=500))
    deferred = '{ thread(id: "th-1") { id ... @defer { status } } other: thread(id: "th-2") { id } }'
    headers = {"accept": "multipart/mixed;deferSpec=20220824, application/json"}
    response = trace(incremental=True, upstream_retries=0).http.post(
        "/graphql", json={"query": deferred}, headers=headers
    )
    assert response.headers["content-type"].startswith("multipart/mixed")
    (operation,) = operations(collector.until(lambda spans: bool(operations(spans))))
    assert "graphql.operation.name" not in operation.attributes
    assert operation.attributes["error.type"] == "UPSTREAM_ERROR"


def test_the_trace_of_the_request_is_continued_and_passed_upstream(
    trace: Trace, collector: Collector, sandbox: Sandbox
) -> None:
    gateway = trace()
    headers = {"traceparent": PARENT, "tracestate": "vendor=value", "baggage": "secret=of-the-client"}
    gateway.http.post("/graphql", json={"query": THREAD}, headers=headers)
    spans = collector.until(lambda spans: bool(operations(spans)))
    (operation,) = operations(spans)
    assert (operation.trace, operation.parent) == (PARENT[3:35], PARENT[36:52])
    (sent,) = (each for each in sandbox.calls if each.route == "thread")
    assert sent.headers["traceparent"] == f"00-{operation.trace}-{only(spans, ROUTE).id}-01"
    assert sent.headers["tracestate"] == "vendor=value"
    assert "baggage" not in sent.headers


def test_an_unsampled_trace_is_passed_upstream_and_not_exported(
    trace: Trace, collector: Collector, sandbox: Sandbox
) -> None:
    gateway = trace()
    gateway.http.post("/graphql", json={"query": THREAD}, headers={"traceparent": PARENT[:-1] + "0"})
    gateway.http.post("/graphql", json={"query": THREAD})
    spans = collector.until(lambda spans: bool(operations(spans)))
    assert PARENT[3:35] not in {each.trace for each in spans}
    first = next(each for each in sandbox.calls if each.route == "thread")
    assert re.fullmatch(f"00-{PARENT[3:35]}-[0-9a-f]{{16}}-00", first.headers["traceparent"])


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT + "-more" * 200])
def test_an_invalid_traceparent_starts_a_new_trace(trace: Trace, collector: Collector, given: str) -> None:
    gateway = trace()
    assert gateway.http.post("/graphql", json={"query": THREAD}, headers={"traceparent": given}).status_code == 200
    (operation,) = operations(collector.until(lambda spans: bool(operations(spans))))
    assert operation.parent == ""


def test_each_attempt_is_a_span_with_the_number_of_earlier_attempts(
    trace: Trace, collector: Collector, sandbox: Sandbox
) -> None:
    gateway = trace()
    sandbox.faults.add(Fault("thread", status=503, times=1))
    gateway.data(THREAD)
    spans = collector.until(lambda spans: bool(operations(spans)))
    first, second = sorted(
        (each for each in spans if each.name == ROUTE), key=lambda each: each.attributes["http.response.status_code"]
    )[::-1]
    assert (first.failed, first.attributes["error.type"]) == (True, "503")
    assert (second.failed, second.attributes["http.request.resend_count"]) == (False, 1)
    assert not only(spans, "query").failed


def test_a_failed_span_has_the_error_code_and_no_upstream_text(
    trace: Trace, collector: Collector, sandbox: Sandbox
) -> None:
    gateway = trace(upstream_retries=0)
    sandbox.faults.add(Fault("thread", drop="before"))
    gateway.query(THREAD)
    gateway.query("{ nothing }")
    spans = collector.until(lambda spans: len(operations(spans)) == 2)
    failed = only(spans, "query")
    assert (failed.failed, failed.attributes["error.type"]) == (True, "UPSTREAM_UNAVAILABLE")
    assert only(spans, ROUTE).attributes["error.type"] == "UPSTREAM_UNAVAILABLE"
    wrong = only(spans, "GraphQL Operation")
    assert (wrong.failed, wrong.attributes["error.type"]) == (False, "GRAPHQL_VALIDATION_FAILED")
    assert {each.events for each in spans} == {0}, "the text of an exception may come from outside"


JSON = {"content-type": "application/json"}
TWICE = [{"query": THREAD}] * 2


@pytest.mark.parametrize(
    ("sent", "overrides", "status"),
    [
        ({"params": {"query": THREAD}, "headers": {"sec-fetch-site": "cross-site"}}, {}, 403),
        ({"params": {"query": "x" * 40_000}}, {}, 414),
        ({"params": {"query": THREAD}}, {"upstream_identity": "passthrough", "inbound_auth": None}, 401),
        ({"method": "PUT", "json": {"query": THREAD}}, {}, 405),
        ({"method": "POST", "content": b"{}"}, {}, 415),
        ({"method": "POST", "content": b"{", "headers": JSON}, {}, 400),
        ({"method": "POST", "json": {"query": "x" * 2048}}, {"max_body": 2048}, 413),
        ({"method": "POST", "json": {"query": THREAD}, "headers": {"accept": "text/plain"}}, {}, 406),
        ({"method": "POST", "json": {"query": THREAD}, "headers": {"gateway-timeout": "never"}}, {}, 400),
        ({"method": "POST", "json": TWICE, "headers": {"gateway-timeout": "never"}}, {"max_batch": 2}, 400),
    ],
)
def test_a_refused_request_has_its_own_status_with_tracing(
    trace: Trace, sent: dict[str, Any], overrides: dict[str, Any], status: int
) -> None:
    response = trace(**overrides).http.request(**{"method": "GET", "url": "/graphql", **sent})
    assert response.status_code == status, response.text


@strawberry.type
class _Mutation:
    @strawberry.mutation
    def nothing(self) -> int:
        return 0


def _with_mutations(endpoint: GraphQLEndpoint, tracing: Tracing) -> GraphQLEndpoint:
    """Return the same endpoint on a schema with a mutation, since the gateway's schema has none."""
    options = SchemaOptions(incremental=False, field_scopes=False, enumerations=Enumerations())
    schema = FederatedSchema(options, query=Query, mutation=_Mutation)
    engine = Engine(schema, EngineOptions(), tracing=tracing)
    streams = replace(endpoint.streams.streams, runner=replace(endpoint.streams.runner, engine=engine))
    return replace(endpoint, streams=replace(endpoint.streams, streams=streams))


@pytest.mark.parametrize("named", [False, True])
def test_a_mutation_with_get_is_405_with_tracing(
    collector: Collector, servers: ExitStack, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """The refusal is raised inside the operation's span, which is a context manager."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    tracing = build_tracing(os.environ)
    assert tracing is not None
    app = create_app(settings(**SERVICE, upstream_url=collector.url), tracing=tracing)
    (route,) = (each for each in app.routes if isinstance(each, Route) and each.path == "/graphql")
    assert isinstance(route.endpoint, GraphQLEndpoint)
    app.router.routes[:] = [Route("/changes", _with_mutations(route.endpoint, tracing))]
    url = servers.enter_context(BackgroundServer(gateway_config(app))).url
    document = "mutation { nothing }"
    persisted = {"version": 1, "sha256Hash": hashlib.sha256(document.encode()).hexdigest()}
    params = {"query": document, **({"extensions": json.dumps({"persistedQuery": persisted})} if named else {})}
    response = httpx.get(f"{url}/changes", params=params, trust_env=False, verify=NO_CERTIFICATES)
    assert (response.status_code, response.headers.get("allow")) == (405, "POST"), response.text


def test_no_span_contains_an_id_a_variable_or_a_secret(trace: Trace, collector: Collector, sandbox: Sandbox) -> None:
    gateway = trace()
    document = 'query ($id: ID!) { thread(id: $id) { id } customer(externalId: "for-nobody-else") { id } }'
    gateway.query(document, id="an-id-of-somebody")
    collector.until(lambda spans: bool(operations(spans)))
    assert sandbox.count("token") == 1
    token = sandbox.calls[-1].headers["authorization"].removeprefix("Bearer ")
    for secret in ("an-id-of-somebody", "for-nobody-else", PASSWORD, token):
        assert secret.encode() not in collector.raw


def test_the_log_names_the_span(trace: Trace, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    trace().data(THREAD)
    (operation,) = operations(collector.until(lambda spans: bool(operations(spans))))
    (fields,) = (vars(record)["fields"] for record in caplog.records if record.message == "operation")
    assert (fields["traceId"], fields["spanId"]) == (operation.trace, operation.id)


def test_without_tracing_nothing_is_sent_upstream(gateway: Gateway, sandbox: Sandbox) -> None:
    gateway.http.post("/graphql", json={"query": THREAD}, headers={"traceparent": PARENT, "tracestate": "a=b"})
    assert sandbox.count("thread") == 1
    assert not [each for each in sandbox.calls if {"traceparent", "tracestate"} & set(each.headers)]


def test_the_program_reads_the_standard_variables_and_flushes_when_it_stops(
    begin: Start, upstream: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "inbox")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="0")
    httpx.post(serving(program), json={"query": THREAD}, trust_env=False, verify=NO_CERTIFICATES)
    assert collector.spans == []
    program.interrupt(15)
    assert program.end() == 0
    assert only(collector.spans, "query").resource["service.name"] == "inbox"


def test_a_collector_that_does_not_respond_delays_no_request_and_the_exit_only_by_seconds(
    begin: Start, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="0")
        answer = httpx.post(serving(program), json={"query": THREAD}, trust_env=False, verify=NO_CERTIFICATES)
        assert answer.json() == {"data": {"thread": {"id": "th-1"}}}
        program.interrupt(15)
        assert program.end() == 0, "the exporter alone would wait for ten minutes"


def test_an_unreachable_collector_is_logged_without_a_secret_or_an_address(
    begin: Start, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second header is invalid, and the library logs its value."""
    for headers in ("authorization=Bearer%20marked", "authorization=Bearer%20marked%0A"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://marked:marked@127.0.0.1:1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
        program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, shutdown_delay="0")
        httpx.post(serving(program), json={"query": THREAD}, trust_env=False, verify=NO_CERTIFICATES)
        line = program.err.until('.*"logger":"opentelemetry.*')[0]
        assert "export" in json.loads(line)["message"]
        program.interrupt(15)
        said = line + program.err.rest()
        assert "marked" not in said
        assert "127.0.0.1" not in line


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off_by_the_standard_variables(variables: dict[str, str]) -> None:
    assert build_tracing(variables) is None


def test_another_protocol_is_a_warning_that_names_the_supported_one(caplog: pytest.LogCaptureFixture) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert build_tracing(variables) is None
    (record,) = caplog.records
    assert "http/protobuf" in record.getMessage()


def test_without_the_extra_there_is_a_warning_that_names_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.telemetry.otel", None)  # the import fails
    assert build_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is None
    (record,) = caplog.records
    assert "gochat-gateway[otel]" in record.getMessage()
