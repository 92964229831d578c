"""The prediction of an operation's REST calls as JSON: by route, and for each which fields cause it.

Apart from `gateway.execution.engine`, which decides what is predicted and refused.
"""

from typing import Any

from gateway.execution.cost.estimate import Prediction
from gateway.execution.cost.policy import CostPolicy
from gateway.upstream.contract import Route


def breakdown(prediction: Prediction, policy: CostPolicy) -> dict[str, Any]:
    """Return ``calls`` and ``cost``, as docs/http.md describes them.

    A field is named by its path in the operation: the response keys from the root. Their number is bounded by
    ``GATEWAY_MAX_FIELDS``.
    """
    by_route: dict[Route, list[dict[str, Any]]] = {}
    for (route, path), number in prediction.fields.items():
        by_route.setdefault(route, []).append({"path": list(path), "predicted": number})
    cost: dict[str, Any] = {
        "predicted": prediction.total,
        "limit": policy.limit,
        "mode": policy.mode.value,
        "listSize": policy.list_size,
    }
    if prediction.total > policy.counted:
        cost["orMore"] = True
    calls: list[dict[str, Any]] = [
        {"method": route.method, "route": route.template, "predicted": number, "fields": by_route.get(route, [])}
        for route, number in prediction.routes.items()
    ]
    return {"cost": cost, "calls": calls}
