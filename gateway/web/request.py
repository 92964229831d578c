"""An HTTP request: built once at the edge of the endpoint, and passed down instead of ASGI's scope and receive.

``body`` and `while_connected` are the only readers of ``receive``: first the body is read, then a hang-up is noticed.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import lru_cache
from math import ceil, inf
from typing import Self, TypeVar

import msgspec
from starlette.types import Message, Receive, Scope

from gateway.errors import BodyTooLarge, GatewayError, RateLimited
from gateway.storage.uploaded_file import UploadedFile

T = TypeVar("T")

FORM = "multipart/form-data"
"""The media type of forms (RFC 7578)."""

_UNWATCHED_SECONDS = 0.01
# A client whose connection is closed while it sends may never read the response, so the rest is read and discarded.
_MAX_DISCARDED_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 1.0
"""When a client may send a body again for which there was no room."""

_NO_HEADERS: Mapping[str, str] = {}


class ClientDisconnected(Exception):
    """The client closed the connection before it got the response."""


class HttpError(Exception):
    """A request that is not executed. ``error`` is in the body of the response, ``headers`` are added to it.

    ``members`` is how many operations a refused batch has: the body is an array with the error for each, 0 for none.
    """

    def __init__(
        self, status: int, error: GatewayError, headers: Mapping[str, str] = _NO_HEADERS, *, members: int = 0
    ) -> None:
        super().__init__(status, error.code)
        self.members = members
        self.status = status
        self.error = error
        self.headers = headers


@lru_cache(maxsize=64)
def media_type_of(content_type: str) -> str:
    """Return the media type of a header ``Content-Type``, in lower case and without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_form(headers: Mapping[str, str]) -> bool:
    """Return whether a request says that its body is multipart/form-data."""
    return media_type_of(headers.get("content-type", "")) == FORM


def retry_after_header(seconds: float | None) -> dict[str, str]:
    """Return the header that says when to retry, in whole seconds (RFC 9110, section 10.2.3)."""
    return {} if seconds is None else {"retry-after": str(max(1, ceil(seconds)))}


class RequestBody:
    """Iterates over the pieces of a request's body as they arrive; raises ClientDisconnected where it is cut off."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_read:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        self._is_read = not message.get("more_body")
        piece: bytes = message.get("body", b"")
        return piece

    async def discard(self) -> None:
        """Read the rest, so that the client reads the response."""
        size = 0
        async for piece in self:
            size += len(piece)
            if size > _MAX_DISCARDED_BYTES:
                return


class HttpRequest(msgspec.Struct, frozen=True):
    """A request of a client."""

    method: str
    query_string: bytes
    headers: Mapping[str, str]
    """By their names in lower case; of several with one name, the first."""
    address: str | None
    """The client's IP address, None where it is unknown."""
    id: str
    """The request id: in errors, log lines, traces and the header ``X-Request-Id``."""
    receive: Receive
    uploads: list[UploadedFile] = msgspec.field(default_factory=list)
    """The files that came with it. They are released once it is answered."""

    def __repr__(self) -> str:
        """Return the text for logs and debuggers, which shows no credential and no content."""
        return f"HttpRequest({self.method}, {self.id})"

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> "HttpRequest":
        """Return the request of an ASGI scope that has passed the middleware, which puts the request id there.

        The headers are decoded once. Starlette's `Headers` searches the whole list at each access: 10 us for the ten
        accesses of a request.
        """
        client = scope.get("client")
        return cls(
            scope.get("method", "POST"),  # a WebSocket has none; what is sent on one may change something
            scope["query_string"],
            {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])},
            client[0] if client else None,
            scope["request_id"],
            receive,
        )

    async def body(self, limit: int, room: "BodyRoom | None" = None) -> bytes:
        """Read the whole body; BodyTooLarge over ``limit`` bytes, ClientDisconnected where it is cut off.

        A body that does not come at once takes ``room`` while it is read; NoRoom where there is none.
        """
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) <= limit:
                return body
        with (room or BodyRoom()).holding() as held:
            return await self._rest(message, held, limit)

    async def _rest(self, message: Message, held: "HeldBytes", limit: int) -> bytes:
        size = 0
        while message["type"] == "http.request":
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= limit:
                held.add(chunk)
            if not message.get("more_body") or size > _MAX_DISCARDED_BYTES:
                if size > limit:
                    raise BodyTooLarge(f"The request's body is larger than {limit} bytes.")
                return held.body()
            message = await self.receive()
        raise ClientDisconnected


class NoRoom(RateLimited):
    """The worker reads so many bodies at this moment that it holds no further one (HTTP 503)."""

    default_message = "Too many large requests are being read at this moment: send it again."


class BodyRoom:
    """Bounds the bytes of all bodies that a worker reads at one moment. Without it, each connection can hold one."""

    def __init__(self, limit: float = inf) -> None:
        self.left = limit
        self.refused = 0
        """How many bodies found no room."""

    @contextmanager
    def holding(self) -> Iterator["HeldBytes"]:
        """Give what holds one body, and take its room back."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            held.give_back(held.size)


class HeldBytes:
    """The beginning of a body, or a part of it. What finds no room is read to its end, and discarded."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._fits = True
        self._content = bytearray()  # chunks of a few bytes each would take many times their length
        self.size = 0
        """How much room it takes, in bytes."""

    def __len__(self) -> int:
        return len(self._content)

    def add(self, chunk: bytes) -> None:
        """Hold a further chunk, or nothing of this body any more."""
        if self._fits and len(chunk) <= self._room.left:
            self._room.left -= len(chunk)
            self.size += len(chunk)
            self._content += chunk
            return
        self._room.refused += self._fits
        self._fits = False
        self._content.clear()
        self.give_back(self.size)

    def body(self) -> bytes:
        """Return what was added since the last time, which keeps its room; NoRoom where something was discarded."""
        if not self._fits:
            raise NoRoom(retry_after=RETRY_SECONDS)
        body = bytes(self._content)
        self._content.clear()
        return body

    def give_back(self, size: int) -> None:
        """Give so many bytes of room back."""
        self._room.left += size
        self.size -= size


class _Watch:
    """Cancels the task of a request when its client disconnects."""

    __slots__ = ("_context", "_receive", "_task", "_watcher", "gone")

    def __init__(self, receive: Receive, task: "asyncio.Task[object] | None") -> None:
        self._receive = receive
        self._task = task
        self._watcher: asyncio.Task[None] | None = None
        self._context = copy_context()
        self.gone = False
        """Whether the client has disconnected."""

    def start(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name="client-watch", context=self._context)

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._task is not None:
            self._task.cancel()


class _Watches:
    """Starts the watches that are older than ``_UNWATCHED_SECONDS``, with one timer for all of an event loop.

    A timer for each would take most requests longer than all the rest of `while_connected`, which never need it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._new: dict[_Watch, None] = {}
        self._older: dict[_Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: _Watch) -> None:
        self._new[watch] = None
        if self._timer is None:
            self._tick_later()

    def _tick_later(self) -> None:
        # Without a context, the timer would keep that of the first request.
        self._timer = self.loop.call_later(_UNWATCHED_SECONDS, self._tick, context=Context())

    def remove(self, watch: _Watch) -> None:
        self._new.pop(watch, None)
        self._older.pop(watch, None)
        watch.stop()

    def _tick(self) -> None:
        due, self._older, self._new = self._older, self._new, {}
        for watch in due:
            watch.start()
        self._timer = None
        if self._older:
            self._tick_later()


_watches: _Watches | None = None


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Await ``work``; if the client disconnects meanwhile, cancel it and raise ClientDisconnected.

    The body has been read before, so a disconnect is all that ``receive`` can still report. Work that takes less than
    ``_UNWATCHED_SECONDS`` is not watched, and all that takes twice as long is: the task would cost more than it saves.
    """
    global _watches  # noqa: PLW0603 - of the event loop that runs
    loop = asyncio.get_running_loop()
    task = asyncio.current_task(loop)
    watches = _watches
    if watches is None or watches.loop is not loop:
        watches = _watches = _Watches(loop)
    watch = _Watch(receive, task)
    watches.add(watch)
    try:
        return await work
    except asyncio.CancelledError:
        if task is None or not watch.gone:
            raise
        task.uncancel()
        raise ClientDisconnected from None
    finally:
        watches.remove(watch)
