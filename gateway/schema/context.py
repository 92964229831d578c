"""What one operation carries: for whom it runs, until when, and its loaders."""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from strawberry.types import Info

from gateway.auth import Viewer
from gateway.schema.loaders import Loaders
from gateway.upstream.client import Caller, UpstreamClient


@dataclass(frozen=True, slots=True)
class OperationContext:
    """The context of one operation; never shared between two of them."""

    viewer: Viewer
    request_id: str
    loaders: Loaders
    max_page_size: int


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """Makes the context of each operation. ``timeout`` is in seconds, for all of an operation's REST calls."""

    client: UpstreamClient
    timeout: float
    max_page_size: int

    def build(self, viewer: Viewer, request_id: str) -> OperationContext:
        """Return a new context; the operation's time starts now."""
        deadline = asyncio.get_running_loop().time() + self.timeout
        loaders = Loaders(self.client, Caller(viewer, deadline))
        return OperationContext(viewer, request_id, loaders, self.max_page_size)


GatewayInfo: TypeAlias = Info[OperationContext, None]
"""What a resolver is told of the operation it belongs to."""
