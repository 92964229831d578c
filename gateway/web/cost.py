"""``Gateway-Cost: predicted=3, made=2``: the REST calls of a request (a dictionary of RFC 9651).

``made`` counts those that went to the REST API, not what came from the cache or was shared with another request. It is
left out of an answer in parts, whose header is sent before the last call is made.
"""

from collections.abc import Sequence

from starlette.responses import Response

from gateway.execution.result import Cost

NAME = b"gateway-cost"


def cost_header(costs: Sequence[Cost | None]) -> tuple[bytes, bytes] | None:
    """Return the header for a request with these operations, None where nothing was predicted of any."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    value = f"predicted={sum(cost.predicted for cost in known)}"
    if all(cost.made is not None for cost in known):
        value += f", made={sum(cost.made or 0 for cost in known)}"
    return NAME, value.encode()


def with_cost_header(response: Response, costs: Sequence[Cost | None]) -> Response:
    """Add the header to a response."""
    header = cost_header(costs)
    if header is not None:
        response.raw_headers.append(header)
    return response
