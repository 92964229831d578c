"""Instrumentation of each request on the socket: every attempt of a call, every login, every cache refresh."""

import asyncio
import time

from gateway.errors import GatewayError, InternalError
from gateway.http1 import CallFailed, Origin, Response
from gateway.telemetry.metrics import Durations
from gateway.telemetry.tracing import OutgoingRequest, Tracing
from gateway.upstream.call import CANCELLED, RestRequest, Transport, outcome_of
from gateway.upstream.response import translate


class MetricsInstrumentation:
    """Wraps a transport, and records the duration of each request by route and outcome."""

    def __init__(self, following: Transport, durations: Durations) -> None:
        self._following = following
        self._durations = durations

    async def send(self, request: RestRequest) -> Response:
        """Send the request."""
        started = time.perf_counter()
        outcome = InternalError.code
        try:
            response = await self._following.send(request)
            outcome = outcome_of(response.status)
        except asyncio.CancelledError:
            outcome = CANCELLED
            raise
        except (CallFailed, GatewayError) as exc:
            outcome = error_outcome(exc)
            raise
        finally:
            self._durations.observe(time.perf_counter() - started, request.route.template, outcome)
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


class TracingInstrumentation:
    """Wraps a transport, and records a span for each request; its headers carry the trace context."""

    def __init__(self, following: Transport, tracing: Tracing, origin: Origin) -> None:
        self._following = following
        self._origin = origin
        self._tracing = tracing

    async def send(self, request: RestRequest) -> Response:
        """Send the request."""
        origin, repeats = self._origin, max(0, request.call.attempts - 1)
        outgoing = OutgoingRequest(request.method, request.route.template, origin.host, origin.port, repeats)
        headers: dict[str, str] = {}
        with self._tracing.request(outgoing, headers) as span:
            try:
                response = await self._following.send(request.with_headers(headers.items()))
            except asyncio.CancelledError:
                span.record(None, CANCELLED)
                raise
            except (CallFailed, GatewayError) as exc:
                span.record(None, error_outcome(exc))
                raise
            span.record(response.status, outcome_of(response.status))
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


def error_outcome(exc: CallFailed | GatewayError) -> str:
    """Return the code of the error that the client would get."""
    return exc.code if isinstance(exc, GatewayError) else translate(exc).code
