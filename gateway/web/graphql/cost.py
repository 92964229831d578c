"""``Gateway-Cost: predicted=3, made=2``: the REST calls of a request (a dictionary of RFC 9651).

``predicted=5001;or-more`` is where the counting ended, with ``GATEWAY_COST_MODE=measure`` at five times the limit.
``made`` counts those that went to the REST API, not what came from the cache or was shared with another request. It is
left out of an answer in parts, whose header is sent before the last call is made.
"""

from collections.abc import Sequence

from starlette.responses import Response

from gateway.execution.result import Cost
from gateway.web.graphql.multipart import MultipartResponse

_NAME = b"gateway-cost"


def add_cost(response: Response | MultipartResponse, costs: Sequence[Cost | None]) -> None:
    """Add the header to the response of a request with these operations, where anything was predicted of them."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return
    value = f"predicted={sum(cost.predicted for cost in known)}"
    if any(cost.or_more for cost in known):
        value += ";or-more"
    if all(cost.actual is not None for cost in known):
        value += f", made={sum(cost.actual or 0 for cost in known)}"
    response.raw_headers.append((_NAME, value.encode()))
