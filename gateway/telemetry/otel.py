"""Traces by the OpenTelemetry SDK, sent over OTLP, with the attributes of its semantic conventions.

No span contains a document, a variable, a URL or a body: they may contain ids of people. A span has the route and the
operation's name. Of a request's headers only ``traceparent`` and ``tracestate`` are passed on.
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

# Written out, because the SDK's constants for them are not declared stable.
_OPERATION_NAME = "graphql.operation.name"
_OPERATION_TYPE = "graphql.operation.type"
_URL_TEMPLATE = "url.template"
_PREFIX = "gochat_gateway."

_MAX_NAME_LENGTH = 100
_FLUSH_TIMEOUT_SECONDS = 5.0


class OpenTelemetry:
    """Tracing with its own provider: it sets nothing global and instruments no library."""

    def __init__(self) -> None:
        # The SDK's own shutdown waits 30 seconds for a collector that does not answer: `aclose` bounds it.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gochat-gateway", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def operation(self, headers: Mapping[str, str]) -> Iterator["OpenTelemetryOperation"]:
        """Start the span of an operation."""
        parent = self._propagator.extract(headers, Context())
        with self._span("GraphQL Operation", SpanKind.SERVER, parent) as span:
            yield OpenTelemetryOperation(span)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Start the span of a step."""
        with self._span(name):
            yield

    @contextlib.contextmanager
    def request(self, request: OutgoingRequest, headers: MutableMapping[str, str]) -> Iterator["OpenTelemetryRequest"]:
        """Start the span of a request."""
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
        # Exceptions are not recorded: their text may come from the upstream, and a cancelled call is no failure.
        return self._tracer.start_as_current_span(
            name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
        )

    async def aclose(self) -> None:
        """Send the spans that have not been sent, within a few seconds."""
        # A daemon thread, so that the process ends where the collector does not answer.
        end = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        end.start()
        await asyncio.to_thread(end.join, _FLUSH_TIMEOUT_SECONDS)


class OpenTelemetryOperation:
    """The span of one operation."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the span."""
        context = self._span.get_span_context()
        return format_trace_id(context.trace_id), format_span_id(context.span_id)

    def record(self, facts: OperationFacts) -> None:
        """Record the operation. Its status is an error for failures of the gateway or the REST API, not of clients."""
        span = self._span
        if not span.is_recording():
            return
        if facts.type != "unknown":
            span.update_name(facts.type)
            span.set_attribute(_OPERATION_TYPE, facts.type)
        if facts.name is not None:
            span.set_attribute(_OPERATION_NAME, facts.name[:_MAX_NAME_LENGTH])
        if facts.document is not None:
            span.set_attribute(f"{_PREFIX}document", facts.document)
        span.set_attribute(f"{_PREFIX}request_id", facts.request_id)
        span.set_attribute(f"{_PREFIX}executor", facts.executor)
        if facts.codes:
            span.set_attribute(ERROR_TYPE, facts.codes[0])
            if any(code.startswith("UPSTREAM_") or code == InternalError.code for code in facts.codes):
                span.set_status(StatusCode.ERROR)


class OpenTelemetryRequest:
    """The span of one request to the REST API."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def record(self, status: int | None, outcome: str) -> None:
        """Record the outcome. In a client span 4xx and 5xx are errors, including the 404 that callers get as null."""
        if status is not None:
            self._span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        if status is None or status >= 400:
            self._span.set_attribute(ERROR_TYPE, outcome)
            self._span.set_status(StatusCode.ERROR)


def _resource() -> Resource:
    """Return the resource that the environment describes, with the gateway's name where it has none."""
    found = Resource.create({SERVICE_VERSION: __version__})
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "gochat-gateway"}))
    return found
