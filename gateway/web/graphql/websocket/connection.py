"""One WebSocket: the states of ``graphql-transport-ws``, and the operations that run on it.

    accepted ──connection_init──▶ initialising ──credentials are valid──▶ acknowledged ──▶ closed
       │ 3 s: 4408                    │ invalid: 4403                          subscribe ▶ next…, complete | error

Messages are read one at a time. What takes long runs in tasks: the check of the credentials, and each operation. So a
message that closes the socket is noticed at once, and an operation does not delay the ones beside it. A client that
takes nothing makes its own tasks wait, and is not read either while its pong waits; the server then drops it.

Codes below 4000 are those of RFC 6455, section 7.4. The gateway never closes with 1000, which clients take for the end
of their subscriptions, nor with 1011, which they take for one that is final.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
from graphql import OperationType
from starlette.types import Message, Receive, Send

from gateway.auth import Authenticator
from gateway.clock import RANDOM
from gateway.compat.uvicorn_websocket import STUCK
from gateway.errors import Forbidden, GatewayError, TooManySubscriptionsOnConnection, Unauthenticated
from gateway.execution.result import failed
from gateway.execution.subscriptions import EndReason
from gateway.web.graphql.decode import operation_of
from gateway.web.graphql.streams.drain import OpenStreams
from gateway.web.graphql.streams.operation import Errors, StreamedOperation, StreamRunner
from gateway.web.graphql.streams.report import SOCKET
from gateway.web.graphql.websocket import messages
from gateway.web.graphql.websocket.messages import ClientMessage, Credentials, InvalidMessage
from gateway.web.rate_limit import NoRateLimit, RateLimit
from gateway.web.request import HttpError, HttpRequest

_TURN_SECONDS = 0.1
"""Time to read what has arrived. Where the event loop stood still, timers are due before the sockets are looked at."""

_MAX_REASON_BYTES = 123  # RFC 6455, section 5.5: 125 with the code


@dataclass(frozen=True, slots=True)
class SocketServices:
    """What all sockets of a process use. Times are in seconds."""

    authenticator: Authenticator
    rate_limit: RateLimit | NoRateLimit
    streams: StreamRunner
    open: OpenStreams
    max_operations: int
    """Operations that may run on one socket at the same time."""
    heartbeat: float = 12.0
    init_timeout: float = 3.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """What runs for the sockets."""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Return a task that is kept until it is done."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class Connection:
    """A socket that was accepted. `serve` is called once; its operations and the drain call the other methods."""

    __slots__ = (
        "__weakref__",
        "_code",
        "_credentials",
        "_is_alive",
        "_is_initialised",
        "_number",
        "_operations",
        "_request",
        "_send",
        "_services",
        "_timer",
        "_wants_to_close",
    )

    def __init__(self, services: SocketServices, request: HttpRequest, send: Send) -> None:
        self._services = services
        self._request = request
        self._send = send
        self._credentials: Credentials | None = None
        """Those of an acknowledged connection."""
        self._is_initialised = False
        self._is_alive = True
        self._number = 0
        self._operations: dict[str, _Operation] = {}
        self._code: int | None = None
        """The code that the gateway closes with."""
        self._wants_to_close = False

    async def serve(self, receive: Receive) -> int:
        """Read messages until the socket is closed, and return the code of the side that closed it first."""
        self._services.open.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._services.init_timeout, self._init_is_late)
        ended = EndReason.CONNECTION
        try:
            while (received := await receive())["type"] == "websocket.receive":
                self._is_alive = True
                if self._code is None:
                    await self._read(received.get("text") or received.get("bytes") or "")
            ended = _reason(received)
        finally:
            self._timer.cancel()
            self._services.open.remove(self)
            self._stop_all(ended)
        code: int = received.get("code") or 1005
        return self._code or code

    def drain(self) -> None:
        """Close once no query or mutation is running: a client repeats what has no answer, also a mutation."""
        self._wants_to_close = True
        if not any(each.is_single for each in self._operations.values()):
            self.close(1012, "The gateway is shutting down")

    def close(self, code: int, reason: str) -> None:
        """Close the socket, and stop its operations; the first code counts."""
        if self._code is not None:
            return
        self._code = code
        self._stop_all(_ENDS.get(code, EndReason.CONNECTION))
        shown = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        self._start(self._pass_on({"type": "websocket.close", "code": code, "reason": shown}))

    async def send(self, text: str) -> None:
        """Send a message; return when the client has taken the one before."""
        if self._code is None:
            await self._pass_on({"type": "websocket.send", "text": text})

    async def _pass_on(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the connection is lost (ASGI, section WebSocket); `serve` ends as well
            await self._send(message)

    def _stop_all(self, reason: EndReason) -> None:
        operations, self._operations = self._operations, {}
        for operation in operations.values():
            operation.stop(reason)

    async def _read(self, text: str | bytes) -> None:
        try:
            message = messages.read(text)
        except InvalidMessage as exc:
            self.close(4400, str(exc))
            return
        match message.type:
            case "connection_init":
                self._initialise(message)
            case "ping":
                await self.send(messages.pong(message.payload))
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                operation = self._operations.pop(message.id, None)
                if operation is not None:
                    operation.stop(EndReason.CLIENT)

    def _initialise(self, message: ClientMessage) -> None:
        if self._is_initialised:
            self.close(4429, "Too many initialisation requests")
            return
        self._is_initialised = True
        self._timer.cancel()
        self._start(self._acknowledge(message))

    async def _acknowledge(self, message: ClientMessage) -> None:
        """Check the credentials, and acknowledge the connection."""
        try:
            credentials = messages.credentials_of(self._request.headers, message.fields())
            await self._services.authenticator.authenticate(*credentials, self._request.address)
        except (Unauthenticated, Forbidden) as exc:
            self.close(4403, f"Forbidden: {exc.message}")
        except GatewayError as exc:  # too many attempts, or no key of the tokens' issuer yet
            self.close(1013, exc.message)
        else:
            self._credentials = credentials
            await self.send(messages.ACK)
            self._beat_in(self._services.heartbeat * RANDOM.uniform(0.5, 1))  # spreads the pings of many

    async def _subscribe(self, message: ClientMessage) -> None:
        identifier: str = message.id
        if self._credentials is None:
            self.close(4401, "Unauthorized")
        elif identifier in self._operations:
            self.close(4409, f"Subscriber for {identifier} already exists")
        elif self._wants_to_close:
            pass  # the client sends it again, elsewhere
        elif len(self._operations) >= self._services.max_operations:
            problem = f"A connection has {self._services.max_operations} operations at most at the same time."
            await self.send(messages.error(identifier, self.errors(TooManySubscriptionsOnConnection(problem))))
        else:
            operation = _Operation(self, identifier)
            self._operations[identifier] = operation
            operation.task = self._services.start(operation.run(message.fields()))

    async def admit(self, fields: dict[str, Any]) -> StreamedOperation | None:
        """Return the operation of a ``subscribe``, None where the socket is closed instead.

        It passes the same checks as a request: the credentials may have expired, and the rate may be exceeded. Raises
        GatewayError, or HttpError.
        """
        services, credentials = self._services, self._credentials
        requested = operation_of(fields)
        self._number += 1
        request = msgspec.structs.replace(self._request, id=f"{self._request.id}.{self._number}")
        try:
            viewer = await services.authenticator.authenticate(*(credentials or Credentials()), request.address)
        except (Unauthenticated, Forbidden) as exc:
            self.close(4403, f"Forbidden: {exc.message}")
            return None
        admission = await services.rate_limit.admit(viewer, request)
        return StreamedOperation(services.streams, requested, request, admission, SOCKET)

    def errors(self, error: GatewayError) -> Errors:
        """Return the payload of an ``error``."""
        errors: Errors = failed(error, self._request.id).payload["errors"]
        return errors

    def is_current(self, operation: "_Operation") -> bool:
        """Return whether the client still waits for this operation."""
        return self._operations.get(operation.identifier) is operation

    async def over(self, operation: "_Operation", ended: EndReason | None) -> None:
        """Forget an operation that has run, and complete it, or close the socket where it is not complete."""
        was_current = self.is_current(operation)
        if was_current:
            del self._operations[operation.identifier]
        if ended is EndReason.EXPIRED:
            self.close(4403, "Forbidden: the credentials have expired")
        elif ended is EndReason.LIFETIME:
            self.close(1012, "A subscription is as old as it may get")
        elif was_current and not operation.is_refused:
            await self.send(messages.complete(operation.identifier))
        if self._wants_to_close:
            self.drain()

    def _beat_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _beat(self) -> None:
        """Ask whether the client is there; whatever it sends is an answer."""
        if self._code is not None:
            return
        if not self._is_alive:
            self._timer = asyncio.get_running_loop().call_later(_TURN_SECONDS, self._close_unless_alive)
            return
        self._is_alive = False
        self._start(self.send(messages.PING))
        self._beat_in(self._services.heartbeat)

    def _close_unless_alive(self) -> None:
        if self._is_alive:
            self._beat()
        else:
            self.close(4499, "Terminated")

    def _init_is_late(self) -> None:
        reason = "Connection initialisation timeout"
        self._timer = asyncio.get_running_loop().call_later(_TURN_SECONDS, self.close, 4408, reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        _task = self._services.start(work)


class _Operation:
    """One operation of a connection, and where its results go: nowhere once the client has completed it."""

    __slots__ = ("_connection", "_prefix", "_running", "identifier", "is_refused", "task")

    def __init__(self, connection: Connection, identifier: str) -> None:
        self.identifier = identifier
        self.is_refused = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._prefix = messages.next_prefix(identifier)
        self._running: StreamedOperation | None = None

    @property
    def is_single(self) -> bool:
        """Whether it has one result: it is no subscription, or that is not known yet."""
        return self._running is None or self._running.type is not OperationType.SUBSCRIPTION

    async def run(self, fields: dict[str, Any]) -> None:
        """Run it to its end."""
        ended = None
        try:
            self._running = await self._connection.admit(fields)
            if self._running is None:
                return
            ended = await self._running.run(self)
        except HttpError as exc:
            await self.refuse(self._connection.errors(exc.error))
        except GatewayError as exc:
            await self.refuse(self._connection.errors(exc))
        await self._connection.over(self, ended)

    def stop(self, reason: EndReason) -> None:
        """Stop it. A write that is under way goes on in a task of its own, and is the last of its operation."""
        if self._running is not None:
            self._running.stopped_by = reason
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    async def send(self, result: bytes) -> None:
        """Send a result."""
        if self._connection.is_current(self):
            await self._connection.send((self._prefix + result + b"}").decode())

    async def refuse(self, errors: Errors) -> None:
        """Send the errors, after which nothing follows."""
        self.is_refused = True
        if self._connection.is_current(self):
            await self._connection.send(messages.error(self.identifier, errors))


_ENDS = {1012: EndReason.DRAIN, 4403: EndReason.EXPIRED}
"""Why the subscriptions of a socket end that is closed with these codes; with others, the connection is the reason."""


def _reason(disconnect: Message) -> EndReason:
    """Return why the subscriptions of a socket end that the client or the server has closed."""
    if disconnect.get("reason") == STUCK:
        return EndReason.SLOW
    return EndReason.CLIENT if disconnect.get("code") in {1000, 1001} else EndReason.CONNECTION
