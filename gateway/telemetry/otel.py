"""Traces by OpenTelemetry's SDK, sent over OTLP; the attributes are those of its semantic conventions.

No span holds a document, a variable, a URL or a body: a route and an operation's name say what was done, and an id that
belongs to somebody is in none of them. Of what comes with a request only ``traceparent`` and ``tracestate`` go on.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import __version__
from gateway.errors import InternalError
from gateway.telemetry.tracing import OperationFacts, OutgoingRequest

# By their names: the SDK's constants for them are not declared stable, and move.
_OPERATION_NAME = "graphql.operation.name"
_OPERATION_TYPE = "graphql.operation.type"
_URL_TEMPLATE = "url.template"
_OURS = "gochat_gateway."

_LONGEST_NAME = 100
_PATIENCE = 5.0  # seconds for what has not been sent when the gateway stops


class OpenTelemetry:
    """Tracing with a provider of its own: nothing global is set, and nothing of the process is instrumented."""

    def __init__(self) -> None:
        # Its own end waits half a minute for a collector that is gone, also at the interpreter's end: see `aclose`.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gochat-gateway", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def operation(self, headers: Mapping[str, str]) -> Iterator["OpenTelemetryOperation"]:
        """Begin an operation."""
        parent = self._propagator.extract(headers, Context())
        with self._span("GraphQL Operation", SpanKind.SERVER, parent) as span:
            yield OpenTelemetryOperation(span)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Begin a step."""
        with self._span(name):
            yield

    @contextlib.contextmanager
    def request(self, request: OutgoingRequest, headers: MutableMapping[str, str]) -> Iterator["OpenTelemetryRequest"]:
        """Begin a request."""
        attributes: dict[str, str | int] = {
            HTTP_REQUEST_METHOD: request.method,
            _URL_TEMPLATE: request.route,
            SERVER_ADDRESS: request.host,
        }
        if request.port is not None:
            attributes[SERVER_PORT] = request.port
        if request.repeats:
            attributes[HTTP_REQUEST_RESEND_COUNT] = request.repeats
        with self._span(f"{request.method} {request.route}", SpanKind.CLIENT, attributes=attributes) as span:
            self._propagator.inject(headers)
            yield OpenTelemetryRequest(span)

    def _span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> AbstractContextManager[Span]:
        # The text of an exception may be an upstream's, and a cancelled call is no failure: spans are told what
        # they came to.
        return self._tracer.start_as_current_span(
            name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
        )

    async def aclose(self) -> None:
        """Send what has not been sent, for a few seconds at most."""
        # A daemon: where the collector does not answer, the process ends all the same.
        end = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        end.start()
        await asyncio.to_thread(end.join, _PATIENCE)


class OpenTelemetryOperation:
    """The span of one operation."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def ids(self) -> Mapping[str, str]:
        """Return ``traceId`` and ``spanId``."""
        context = self._span.get_span_context()
        return {"traceId": format_trace_id(context.trace_id), "spanId": format_span_id(context.span_id)}

    def tell(self, facts: OperationFacts) -> None:
        """Say what the operation was. It failed where the gateway or the REST API did, not where a client is wrong."""
        span = self._span
        if not span.is_recording():
            return
        if facts.type != "unknown":
            span.update_name(facts.type)
            span.set_attribute(_OPERATION_TYPE, facts.type)
        if facts.name is not None:
            span.set_attribute(_OPERATION_NAME, facts.name[:_LONGEST_NAME])
        if facts.document is not None:
            span.set_attribute(f"{_OURS}document", facts.document)
        span.set_attribute(f"{_OURS}request_id", facts.request_id)
        span.set_attribute(f"{_OURS}executor", facts.executor)
        if facts.codes:
            span.set_attribute(ERROR_TYPE, facts.codes[0])
            if any(code.startswith("UPSTREAM_") or code == InternalError.code for code in facts.codes):
                span.set_status(StatusCode.ERROR)


class OpenTelemetryRequest:
    """The span of one request to the REST API."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def tell(self, status: int | None, outcome: str) -> None:
        """Say what it came to. For a client every 4xx and 5xx is an error, also the 404 that is null to callers."""
        if status is not None:
            self._span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        if status is None or status >= 400:
            self._span.set_attribute(ERROR_TYPE, outcome)
            self._span.set_status(StatusCode.ERROR)


def _resource() -> Resource:
    """Return what the environment says of this service, and its name where that says none."""
    found = Resource.create({SERVICE_VERSION: __version__})
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "gochat-gateway"}))
    return found
