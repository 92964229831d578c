"""A collector of traces: it receives OTLP as protobuf over HTTP."""

import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived, with its ids in hexadecimal digits."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, Any]
    failed: bool
    events: int
    resource: Mapping[str, Any]


class Collector:
    """Keeps the spans that it receives; a context manager."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.raw = b""
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                collector.take(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.raw += body
            for batch in request.resource_spans:
                resource = _attributes(batch.resource.attributes)
                for scope in batch.scope_spans:
                    self.spans += [_span(each, resource) for each in scope.spans]
            self._changed.notify_all()

    def until(self, holds: Callable[[list[Received]], bool]) -> list[Received]:
        """Return all spans, once ``holds`` is true for those that have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.spans), _TIMEOUT_SECONDS), self.spans
            return list(self.spans)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _span(each: Any, resource: Mapping[str, Any]) -> Received:
    return Received(
        each.name,
        each.kind,
        each.trace_id.hex(),
        each.span_id.hex(),
        each.parent_span_id.hex(),
        _attributes(each.attributes),
        each.status.code == each.status.STATUS_CODE_ERROR,
        len(each.events),
        resource,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in pairs}
