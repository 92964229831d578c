"""The context of one operation: its caller, its deadline and its loaders."""

import time
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from strawberry.types import Info

from gateway.auth import Viewer
from gateway.schema.resolvers.budget import NO_LIMITS, UNLIMITED, Budget, ResponseLimits
from gateway.schema.resolvers.cooperative import LARGE_BYTES, SLICE_SECONDS, Pace
from gateway.schema.resolvers.loaders import Intake, Loaders
from gateway.upstream.call import CallReports
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.writes.writer import Writer


class Execution(msgspec.Struct):
    """How an operation is executed: the engine fills this in, and the operation log reports it at the end."""

    name: str | None = None
    """The name of the operation, from the document or else from the request."""
    type: str = "unknown"
    """``query``, ``mutation`` or ``subscription``, once the document is known."""
    document: str | None = None
    """The beginning of the document's SHA-256."""
    executor: str = "none"
    """``plan`` or ``reference``; ``none`` where the operation could not begin."""
    reason: str | None = None
    """Why no plan executed it."""
    began: float = msgspec.field(default_factory=time.perf_counter)
    """When the operation began, by `time.perf_counter`."""
    explain: bool = False
    """Whether the caller wants its REST calls explained."""
    reads_completed: bool = False
    """Whether the client is known to read the errors of ``completed`` in an incremental response."""
    calls: list[dict[str, Any]] | None = None
    """Its REST calls as JSON, with the fields that they fed, once they are explained."""
    writes: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """Each mutation that was answered, with its outcome."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one execution of a subscription is about."""

    id: str
    """The id of the thread, or the external id of the customer."""
    change: str = "{}"
    """The body of the ``ThreadChange``."""


class OperationContext(msgspec.Struct, frozen=True):
    """The context of one operation; never shared between two of them."""

    viewer: Viewer
    request_id: str
    loaders: Loaders
    max_page_size: int
    call: CallContext
    """The deadline and the reports of its REST calls."""
    writer: Writer
    pace: Pace
    budget: Budget
    """Counts the response that the reference executor builds."""
    execution: Execution = msgspec.field(default_factory=Execution)
    entities: dict[tuple[int, ...], tuple[list[Any], Any]] = msgspec.field(default_factory=dict)
    """By the ids of the representations in a list, the list and what it loads."""
    update: Update | None = None
    """What a subscription is executed for; None for any other operation."""

    @property
    def reports(self) -> CallReports:
        """A report of each REST call."""
        return self.call.reports


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """Builds the context of each operation.

    ``timeout`` is in seconds, for all of an operation's REST calls. A REST body of ``large_bytes`` is processed
    cooperatively, ``slice_seconds`` at a time. All bodies of an operation have ``upstream_bytes`` together at most.
    """

    client: UpstreamClient
    writer: Writer
    timeout: float
    max_page_size: int
    large_bytes: int = LARGE_BYTES
    upstream_bytes: int = UNLIMITED
    response: ResponseLimits = NO_LIMITS
    slice_seconds: float = SLICE_SECONDS

    def build(
        self, viewer: Viewer, request_id: str, timeout: float | None = None, *, fresh: bool = False
    ) -> OperationContext:
        """Return a new context; its time starts now. A shorter ``timeout`` of the caller applies instead.

        With ``fresh``, no REST response that it gets is older than its request.
        """
        pace = Pace(self.slice_seconds)
        deadline = pace.loop.time() + (self.timeout if timeout is None else min(timeout, self.timeout))
        call = CallContext(viewer, deadline, timeout=self.timeout, fresh=fresh)
        loaders = Loaders(self.client, call, Intake(pace, self.large_bytes, self.upstream_bytes))
        budget = Budget(self.response)
        return OperationContext(viewer, request_id, loaders, self.max_page_size, call, self.writer, pace, budget)


def own_calls(info: "GatewayInfo") -> CallContext:
    """Return the context of the calls that the resolver of a field makes by itself."""
    path = tuple(step for step in info.path.as_list() if isinstance(step, str))
    return msgspec.structs.replace(info.context.call, cause=path)


GatewayInfo: TypeAlias = Info[OperationContext, None]
"""What Strawberry passes to a resolver, with the context of its operation."""
