"""What HTTP itself answers a request with: a status, an error, and headers that belong to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class HttpError(Exception):
    """A request that is not executed."""

    status: int
    error: GatewayError
    headers: Mapping[str, str] = field(default_factory=dict)
