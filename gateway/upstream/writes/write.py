"""What all writes have in common: how one is sent, what its response says, and how it is read back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec

from gateway.clock import Timing
from gateway.http1 import Response
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.writes.attachments import Content
from gateway.upstream.writes.outcome import Answer

READ_BACK_SECONDS = 2.0
"""How long a write is read back. So much of the operation's time is kept for it."""

_PAUSE_SECONDS = 0.5

Mutation: TypeAlias = Literal["createChatToken", "createMessage", "updateThread"]
"""The mutations that write."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads past cache and coalescing, until the deadline of ``call``."""

    client: UpstreamClient
    call: CallContext
    timing: Timing

    async def twice(self, look: Callable[[], Awaitable[bool]]) -> bool:
        """Return whether ``look`` found what it looks for, at once or after a pause: a write may come late."""
        if await look():
            return True
        if asyncio.get_running_loop().time() + _PAUSE_SECONDS >= self.call.deadline:
            return False
        await self.timing.sleep(_PAUSE_SECONDS)
        return await look()


class Write(Protocol):
    """One write to the REST API."""

    @property
    def mutation(self) -> Mutation:
        """The name of the mutation."""

    @property
    def thread_id(self) -> str | None:
        """The thread that it changes, None where it changes none."""

    @property
    def content(self) -> Content:
        """The body of the request, in JSON."""

    async def look_before(self, client: UpstreamClient, call: CallContext) -> bytes | None:
        """Return the thread as it is before, where that may help to read the write back."""

    async def send(self, client: UpstreamClient, call: CallContext) -> Response:
        """Send the request once; raise the GatewayError of a call without a response."""

    def settled(self, response: Response) -> Answer | None:
        """Return the answer for a 2xx response; None where it is not the documented one, so that it proves nothing."""

    async def read_back(self, reading: Reading, before: bytes | None) -> Answer:
        """Return what reading says about a write whose response did not come. It claims APPLIED only if that shows."""


def time_to_look(call: CallContext) -> CallContext:
    """Return the context of the look before a write: a quarter of the time, since the write needs most of it."""
    now = asyncio.get_running_loop().time()
    return msgspec.structs.replace(call, deadline=now + (call.deadline - now) / 4)


def time_to_send(call: CallContext) -> CallContext:
    """Return the context of the request itself: it ends early, so that there is time to read the write back."""
    left = call.deadline - asyncio.get_running_loop().time()
    return msgspec.structs.replace(call, deadline=call.deadline - min(READ_BACK_SECONDS, left / 2))


def time_to_read(call: CallContext) -> CallContext:
    """Return the context of the calls that read a write back."""
    latest = asyncio.get_running_loop().time() + READ_BACK_SECONDS
    return msgspec.structs.replace(call, deadline=min(call.deadline, latest), fresh=True)
