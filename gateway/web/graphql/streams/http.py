"""Streams over HTTP: server-sent events and multipart, two ways to write the same results into one response.

Server-sent events are graphql-sse's protocol in its distinct connections mode, for operations of any kind. Parts are
Apollo's protocol for subscriptions over multipart HTTP. The headers are sent at once, and a heartbeat when nothing
else is sent, so that no proxy takes the connection for a dead one.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import msgspec
from graphql import OperationType
from starlette.types import Message, Receive, Scope, Send

from gateway.errors import BadUserInput, GatewayError, SubscriptionInterrupted, Unauthenticated
from gateway.execution.operation import Operation
from gateway.execution.result import failed
from gateway.execution.subscriptions import EndReason
from gateway.web.graphql.execute import OperationRunner
from gateway.web.graphql.negotiation import EVENT_STREAM, MULTIPART, STREAMS, bounded, subscription_media_type
from gateway.web.graphql.streams.drain import OpenStreams
from gateway.web.graphql.streams.operation import Errors, StreamedOperation, StreamRunner
from gateway.web.graphql.streams.report import EVENTS, PARTS
from gateway.web.rate_limit import Admission
from gateway.web.request import ClientDisconnected, HttpError, HttpRequest, while_connected
from gateway.web.shutdown import Draining

HEADERS = [
    (b"vary", b"accept"),
    (b"cache-control", b"no-store, no-transform"),  # a proxy that compresses would hold events back
    (b"x-accel-buffering", b"no"),  # so would nginx, which buffers
]

_INTERRUPTED = {
    EndReason.DRAIN: SubscriptionInterrupted("The gateway is shutting down: subscribe again, at another one."),
    EndReason.LIFETIME: SubscriptionInterrupted("The subscription is as old as it may get: subscribe again."),
    EndReason.EXPIRED: Unauthenticated("The credentials have expired."),
}


class Framing(Protocol):
    """How results are written into a response."""

    transport: str
    content_type: bytes
    opening: bytes
    heartbeat: bytes
    closing: bytes
    """After the last result, where the operation is complete."""

    def result(self, result: bytes) -> bytes:
        """Return an encoded result with its frame."""

    def errors(self, errors: bytes) -> bytes:
        """Return the encoded errors of an operation that does not begin."""

    def interrupted(self, errors: bytes, reason: EndReason) -> bytes:
        """Return the end of a response whose operation is not complete, with encoded errors that say why."""


class ServerSentEvents:
    """graphql-sse's events ``next`` and ``complete`` (HTML Standard, section 9.2)."""

    transport = EVENTS
    content_type = b"text/event-stream; charset=utf-8"
    opening = heartbeat = b":\n\n"
    closing = b"event: complete\ndata:\n\n"  # without `data` a browser's EventSource drops the event

    def result(self, result: bytes) -> bytes:
        """Return an event: encoded JSON has no line breaks."""
        return b"event: next\ndata: " + result + b"\n\n"

    def errors(self, errors: bytes) -> bytes:
        """Return a result with errors only: an HTTP error would tell an EventSource nothing."""
        return self.result(b'{"errors":' + errors + b"}")

    def interrupted(self, errors: bytes, reason: EndReason) -> bytes:
        """Return nothing: without ``complete`` the client connects again. With expired credentials it must not."""
        return self.errors(errors) + self.closing if reason is EndReason.EXPIRED else b""


def _part(body: bytes) -> bytes:
    return b"\r\nContent-Type: application/json\r\n\r\n" + body + b"\r\n--graphql"


class Parts:
    """Apollo's parts (RFC 2046, section 5.1). Each is sent with the boundary that ends it."""

    transport = PARTS
    content_type = b'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'
    opening = b"--graphql"
    closing = b"--\r\n"

    heartbeat = _part(b"{}")

    def result(self, result: bytes) -> bytes:
        """Return a part with the result as its payload."""
        return _part(b'{"payload":' + result + b"}")

    def errors(self, errors: bytes) -> bytes:
        """Return a part whose payload is null: no result follows."""
        return _part(b'{"payload":null,"errors":' + errors + b"}")

    def interrupted(self, errors: bytes, reason: EndReason) -> bytes:  # noqa: ARG002 - the protocol's signature
        """Return the errors and the closing boundary, without which a client takes the response for cut off."""
        return self.errors(errors) + self.closing


_FRAMINGS: dict[str, Framing] = {EVENT_STREAM: ServerSentEvents(), MULTIPART: Parts()}


@dataclass(frozen=True, slots=True)
class HttpStreams:
    """Answers requests with streams. ``heartbeat`` is in seconds."""

    streams: StreamRunner
    open: OpenStreams
    draining: Draining
    heartbeat: float

    @property
    def runner(self) -> OperationRunner:
        """What runs the operations that are not streamed."""
        return self.streams.runner

    async def response_to(
        self, operation: Operation, request: HttpRequest, admission: Admission, media_type: str
    ) -> "StreamResponse | None":
        """Return the response, None where the operation gets an ordinary one; HttpError where HTTP forbids it."""
        for_subscriptions = subscription_media_type(bounded(request.headers.get("accept")))
        if for_subscriptions is None:
            return None
        _, kind = await self.streams.resolve(operation)
        if kind is OperationType.MUTATION and request.method == "GET":
            raise HttpError(405, BadUserInput("Mutations cannot be sent with GET."), {"allow": "POST"})
        if kind is OperationType.SUBSCRIPTION:
            media_type = for_subscriptions
            if self.draining.active:
                raise HttpError(503, _INTERRUPTED[EndReason.DRAIN], {"retry-after": "1"})
        elif media_type not in STREAMS:
            return None
        elif media_type == MULTIPART and kind is not None:
            raise HttpError(406, BadUserInput("Only a subscription has an answer of this kind: accept JSON."))
        framing = _FRAMINGS[media_type]
        running = StreamedOperation(self.streams, operation, request, admission, framing.transport)
        return StreamResponse(self, running, framing, request.id)


def may_stream(operation: Operation, media_type: str) -> bool:
    """Return whether `HttpStreams` may have the response: most documents do not have the word, or have no text here."""
    return media_type in STREAMS or not operation.document or "subscription" in operation.document


class StreamResponse:
    """Runs the operation while its results are sent. It is settled when it has run, not before."""

    status_code = 200

    def __init__(self, streams: HttpStreams, running: StreamedOperation, framing: Framing, request_id: str) -> None:
        self.raw_headers = [(b"content-type", framing.content_type), *HEADERS]
        self._streams = streams
        self._running = running
        self._framing = framing
        self._request_id = request_id
        self._send_message: Send
        self._is_complete = False
        self._beating: asyncio.Task[None] | None = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; a client that hangs up ends the operation."""
        self._send_message = send
        self._streams.open.add(self)
        timer = asyncio.get_running_loop().call_later(self._streams.heartbeat, self._beat)
        self._timer = timer
        try:
            await while_connected(receive, self._stream())
        except ClientDisconnected:
            return
        finally:
            self._is_complete = True
            self._timer.cancel()
            self._streams.open.remove(self)

    def drain(self) -> None:
        """End a subscription; a query or a mutation ends by itself."""
        self._running.end(EndReason.DRAIN)

    async def send(self, result: bytes) -> None:
        """Send a result."""
        await self._write(self._framing.result(result))

    async def refuse(self, errors: Errors) -> None:
        """Send the errors of an operation that does not begin."""
        await self._write(self._framing.errors(msgspec.json.encode(errors)))

    async def _stream(self) -> None:
        await self._send_message(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await self._write(self._framing.opening)
        ended = await self._running.run(self)
        self._is_complete = True
        await self._send_message(_body(self._end(ended), more=False))

    def _end(self, ended: EndReason | None) -> bytes:
        error: GatewayError | None = None if ended is None else _INTERRUPTED.get(ended)
        if ended is None or error is None:
            return self._framing.closing
        return self._framing.interrupted(msgspec.json.encode(failed(error, self._request_id).payload["errors"]), ended)

    async def _write(self, body: bytes) -> None:
        if not self._is_complete:
            await self._send_message(_body(body, more=True))

    def _beat(self) -> None:
        """Send a heartbeat, unless the last one is not taken yet."""
        self._timer = asyncio.get_running_loop().call_later(self._streams.heartbeat, self._beat)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._write(self._framing.heartbeat))


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
