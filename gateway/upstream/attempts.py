"""Times what goes over the socket: each attempt of a call, each login, each renewal of a cached answer."""

import asyncio
import time

import httpx

from gateway.errors import GatewayError, InternalError
from gateway.telemetry.metrics import Durations
from gateway.upstream.call import CANCELLED, call_of, outcome_of
from gateway.upstream.client import translate


class TimedAttempts(httpx.AsyncBaseTransport):
    """Wraps a transport, and notes how long each request takes, by route and outcome."""

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


def error_outcome(exc: Exception) -> str:
    """Return the code of the error that a caller would be told of."""
    return exc.code if isinstance(exc, GatewayError) else translate(exc).code
