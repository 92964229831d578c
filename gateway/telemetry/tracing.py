"""The seam of traces: what the rest of the gateway knows of them. Without OpenTelemetry nothing is called at all."""

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


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
