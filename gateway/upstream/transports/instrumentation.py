"""Instrumentation of each request on the socket: every attempt of a call, every login, every cache refresh."""

import asyncio
import time

import httpx

from gateway.errors import GatewayError, InternalError
from gateway.telemetry.metrics import Durations
from gateway.telemetry.tracing import OutgoingRequest, Tracing
from gateway.upstream.call import CANCELLED, call_of, outcome_of
from gateway.upstream.client import translate


class MetricsInstrumentation(httpx.AsyncBaseTransport):
    """Wraps a transport, and records the duration of each request by route and outcome."""

    def __init__(self, following: httpx.AsyncBaseTransport, durations: Durations) -> None:
        self._following = following
        self._durations = durations

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        started = time.perf_counter()
        outcome = InternalError.code
        try:
            response = await self._following.handle_async_request(request)
            outcome = outcome_of(response.status_code)
        except asyncio.CancelledError:
            outcome = CANCELLED
            raise
        except (httpx.HTTPError, GatewayError) as exc:
            outcome = error_outcome(exc)
            raise
        finally:
            self._durations.observe(time.perf_counter() - started, call_of(request).route, outcome)
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


class TracingInstrumentation(httpx.AsyncBaseTransport):
    """Wraps a transport, and records a span for each request; its headers carry the trace context."""

    def __init__(self, following: httpx.AsyncBaseTransport, tracing: Tracing) -> None:
        self._following = following
        self._tracing = tracing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        call, url = call_of(request), request.url
        outgoing = OutgoingRequest(request.method, call.route, url.host, url.port, max(0, call.attempts - 1))
        with self._tracing.request(outgoing, request.headers) as span:
            try:
                response = await self._following.handle_async_request(request)
            except asyncio.CancelledError:
                span.record(None, CANCELLED)
                raise
            except (httpx.HTTPError, GatewayError) as exc:
                span.record(None, error_outcome(exc))
                raise
            span.record(response.status_code, outcome_of(response.status_code))
        return response

    async def aclose(self) -> None:
        """Close the transport that follows."""
        await self._following.aclose()


def error_outcome(exc: Exception) -> str:
    """Return the code of the error that the client would get."""
    return exc.code if isinstance(exc, GatewayError) else translate(exc).code
