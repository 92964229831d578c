"""The seam of traces: what the rest of the gateway knows of them. Without OpenTelemetry nothing is called at all.

An operator switches them on as everywhere, by ``OTEL_EXPORTER_OTLP_ENDPOINT``. The other ``OTEL_…`` variables of the
SDK hold too: the service's name and resource, the sampler, headers, certificates, time-outs.
"""

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from gateway.telemetry.logs import logger

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What a span tells of an operation."""

    request_id: str
    name: str | None
    type: str
    document: str | None
    executor: str
    codes: tuple[str, ...]


class OperationSpan(Protocol):
    """The span of one operation."""

    @property
    def ids(self) -> Mapping[str, str]:
        """Return ``traceId`` and ``spanId``, as log lines have them."""

    def tell(self, facts: OperationFacts) -> None:
        """Say what the operation was, and what it came to."""


class RequestSpan(Protocol):
    """The span of one request to the REST API."""

    def tell(self, status: int | None, outcome: str) -> None:
        """Say what it came to: its HTTP status, or else the outcome."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request to the REST API, as a span tells of it: by its route, not by a URL that holds ids."""

    method: str
    route: str
    host: str
    port: int | None
    repeats: int
    """How many attempts came before."""


class Tracing(Protocol):
    """Makes spans. Each is the current one within its context, and the parent of those that begin there."""

    def operation(self, headers: Mapping[str, str]) -> AbstractContextManager[OperationSpan]:
        """Begin an operation, as part of the trace that the request's headers name (W3C Trace Context)."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Begin a step of the gateway's own work."""

    def request(
        self, request: OutgoingRequest, headers: MutableMapping[str, str]
    ) -> AbstractContextManager[RequestSpan]:
        """Begin a request, and name the trace in its headers."""

    async def aclose(self) -> None:
        """Send what has not been sent, for a few seconds at most."""


def build_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return what the ``OTEL_…`` variables ask for, None where that is nothing; what is wrong is a warning.

    These variables are often set for every program of a platform: they are no reason not to start.
    """
    if not _is_wanted(environment):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        logger.warning("no traces are sent: the protocol must be %s, not %s", _PROTOCOL, protocol)
        return None
    if find_spec("opentelemetry.exporter") is None:
        logger.warning("no traces are sent: OpenTelemetry is missing; `pip install gochat-gateway[otel]` brings it")
        return None
    from gateway.telemetry.otel import OpenTelemetry  # noqa: PLC0415 - an extra, which need not be installed

    return OpenTelemetry()


def _is_wanted(environment: Mapping[str, str]) -> bool:
    if not any(environment.get(name) for name in _ENDPOINTS):
        return False
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER") in {None, "", "otlp"}
