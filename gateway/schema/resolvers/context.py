"""What one operation carries: for whom it runs, until when, and its loaders."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias

from strawberry.types import Info

from gateway.auth import Viewer
from gateway.schema.resolvers.cooperative import LARGE
from gateway.schema.resolvers.loaders import Loaders
from gateway.upstream.call import Trace
from gateway.upstream.client import CallContext, UpstreamClient


@dataclass(slots=True)
class Execution:
    """How an operation is executed: filled in on its way, and told when it is over."""

    name: str | None = None
    """What the operation is called, by the document or else by the request."""
    type: str = "unknown"
    """``query``, ``mutation`` or ``subscription``, once the document is known."""
    document: str | None = None
    """The beginning of the document's SHA-256."""
    executor: str = "none"
    """``plan`` or ``reference``; ``none`` where the operation could not begin."""
    reason: str | None = None
    """Why it is not the plan."""


@dataclass(frozen=True, slots=True)
class OperationContext:
    """The context of one operation; never shared between two of them."""

    viewer: Viewer
    request_id: str
    loaders: Loaders
    max_page_size: int
    trace: Trace
    """Fills with a report of each REST call."""
    execution: Execution = field(default_factory=Execution)


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """Makes the context of each operation.

    ``timeout`` is in seconds, for all of an operation's REST calls; a document of ``large`` bytes is read by turns.
    """

    client: UpstreamClient
    timeout: float
    max_page_size: int
    large: int = LARGE

    def build(self, viewer: Viewer, request_id: str, timeout: float | None = None) -> OperationContext:
        """Return a new context; the operation's time starts now. A caller's own ``timeout`` counts where it is less."""
        began = asyncio.get_running_loop().time()
        slow_at = began + self.timeout
        deadline = slow_at if timeout is None else began + min(timeout, self.timeout)
        caller = CallContext(viewer, deadline, slow_at=slow_at)
        loaders = Loaders(self.client, caller, self.large)
        return OperationContext(viewer, request_id, loaders, self.max_page_size, caller.trace)


GatewayInfo: TypeAlias = Info[OperationContext, None]
"""What a resolver is told of the operation it belongs to."""
