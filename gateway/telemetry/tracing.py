"""The interface for traces that the rest of the gateway uses. Without OpenTelemetry no tracing code runs."""

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What the span of an operation records."""

    request_id: str
    name: str | None
    type: str
    document: str | None
    executor: str
    codes: tuple[str, ...]


class OperationSpan(Protocol):
    """The span of one operation."""

    @property
    def ids(self) -> tuple[str, str]:
        """The ids of the trace and of the span, as in log lines."""

    def record(self, facts: OperationFacts) -> None:
        """Record what the operation was, and its result."""


class RequestSpan(Protocol):
    """The span of one request to the REST API."""

    def record(self, status: int | None, outcome: str) -> None:
        """Record the HTTP status, or the outcome where there is none."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request to the REST API as a span records it: by its route, since a URL contains ids."""

    method: str
    route: str
    host: str
    port: int | None
    repeats: int
    """The number of earlier attempts."""


class Tracing(Protocol):
    """Creates spans. Each is current within its context, and the parent of spans that start there."""

    def operation(self, headers: Mapping[str, str]) -> AbstractContextManager[OperationSpan]:
        """Start the span of an operation, in the trace that the request's headers name (W3C Trace Context)."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Start the span of a step of the gateway's own work."""

    def request(
        self, request: OutgoingRequest, headers: MutableMapping[str, str]
    ) -> AbstractContextManager[RequestSpan]:
        """Start the span of a request, and name the trace in its headers."""

    async def aclose(self) -> None:
        """Send the spans that have not been sent, within a few seconds."""
