"""Whether the process is alive (`/health`), and whether it should get requests (`/ready`). Neither calls the REST API.

`/ready` is 503 where another gateway could serve the requests:

- *shutdown*: the gateway is shutting down.
- *account*: the REST API rejected the gateway's own account, so that no request can be answered. It is ready again
  after ``GATEWAY_UPSTREAM_LOGIN_PAUSE``, since only a request tries the account.
- *upstream*: the circuit of every route called so far is open. A single failing route does not count: it fails for the
  other gateways too, and the other routes would be lost with it. It is ready again after ``GATEWAY_BREAKER_PAUSE``,
  since only a request closes a circuit.
- *settings* is always ``ok``: with wrong ones the gateway does not start.

On its own: these are HTTP routes, and the composition root that joins them knows no HTTP.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.upstream.stack import Upstream
from gateway.web.shutdown import Draining

_NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Health:
    """The two routes for probes of load balancers and orchestrators."""

    upstream: Upstream
    draining: Draining

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/health", self._health), Route("/ready", self._ready)]

    async def _health(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"}, headers=_NO_STORE)

    async def _ready(self, _request: Request) -> JSONResponse:
        circuits = self.upstream.breaker.circuits
        shut = sorted(circuit.name for circuit in circuits if circuit.rejects_calls)
        checks = {
            "settings": "ok",
            "shutdown": "draining" if self.draining.active else "ok",
            "account": "rejected" if self.upstream.account.rejected() else "ok",
            "upstream": "failing" if shut and len(shut) == len(circuits) else "ok",
        }
        ready = all(each == "ok" for each in checks.values())
        body: dict[str, Any] = {"status": "ready" if ready else "not ready", "checks": checks}
        body["openCircuits"] = shut
        return JSONResponse(body, 200 if ready else 503, headers=_NO_STORE)
