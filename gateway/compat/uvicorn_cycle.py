"""How uvicorn passes a request on and sends a response. Apart from its connection: both are too long for one file."""

from collections.abc import Awaitable, Generator
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_OWN_FOR_EACH = _FRAMING | {b"x-request-id"}  # another value in each response, or looked at in each
_MOST_BYTES_TOGETHER = 65_536  # a body up to this size is copied behind its head
_MOST_KNOWN = 1024

_known: dict[tuple[bytes, bytes], bytes] = {}
"""The lines of headers that were sent before."""


def _header_line(name: bytes, value: bytes) -> bytes:
    """Return the line of a header; RuntimeError where it breaks its line."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header name or value.")
    line = b"%b: %b\r\n" % (name.lower(), value)
    if name.lower() not in _OWN_FOR_EACH:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[name, value] = line
    return line


class _Ready:
    """An awaitable for which nobody waits: it has its value."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        return self._value
        yield


_DONE = _Ready(None)


class Cycle(RequestResponseCycle):
    """A request and its response. The lines of headers that were sent before are kept.

    uvicorn searches each header of each response for what it must not have, which took 7 % of the samples of a profile
    of small queries. Most headers are the same in all responses.

    Where the length of the body is known, its head is sent with the first part of it: a second system call and a second
    segment took 5 % of the processor time of a small query. What need not wait is no coroutine, which took another 2 %.
    """

    _head = b""
    """A head that is not sent yet."""

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # uvicorn's is a coroutine function
        """Send the head of a response, or what uvicorn sends."""
        if message["type"] == "http.response.start" and not self.response_started and not self.access_log:
            if self.flow.write_paused:
                return self._send_head_later(message)
            self._send_head(message)
            return _DONE
        if self._head:
            if not (self.flow.write_paused or self.disconnected) and self._is_whole(message):
                self._send_whole(message.get("body", b""))
                return _DONE
            message = self._with_head(message)
        return super().send(message)

    def receive(self) -> Awaitable[Any]:  # type: ignore[override]  # uvicorn's is a coroutine function
        """Return what was received of the request, or wait as uvicorn does."""
        event = self.message_event
        if not event.is_set() or self.waiting_for_100_continue or self.disconnected or self.response_complete:
            return super().receive()
        self.flow.resume_reading()
        event.clear()
        body, self.body = bytes(self.body), bytearray()
        return _Ready({"type": "http.request", "body": body, "more_body": self.more_body})

    def _is_whole(self, message: Any) -> bool:
        size = len(message.get("body", b""))
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        return is_last and size == self.expected_content_length <= _MOST_BYTES_TOGETHER

    def _send_whole(self, body: bytes) -> None:
        head, self._head = self._head, b""
        self.transport.write(head + body)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _with_head(self, message: Any) -> Any:
        head, self._head = self._head, b""
        body = message.get("body", b"")
        if self.disconnected or message["type"] != "http.response.body" or len(body) > _MOST_BYTES_TOGETHER:
            self.transport.write(head)
            return message
        self.expected_content_length += len(head)  # uvicorn counts what it writes
        return {**message, "body": head + body}

    async def _send_head_later(self, message: Any) -> None:
        if not self.disconnected:
            await self.flow.drain()
        self._send_head(message)

    def _send_head(self, message: Any) -> None:
        if self.disconnected:
            return
        self.response_started = True
        self.waiting_for_100_continue = False
        status: int = message["status"]
        lines = [STATUS_LINE[status]]
        says_close = False
        for header in (*self.default_headers, *message.get("headers", ())):
            line = _known.get(header)
            if line is None:
                line = _header_line(*header)
                says_close = self._frame(*header) or says_close
            lines.append(line)
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in {204, 304}:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if self.chunked_encoding is False and self.scope["method"] != "HEAD":
            self._head = head
        else:
            self.transport.write(head)

    def _frame(self, name: bytes, value: bytes) -> bool:
        """Note how a header frames the message; return whether it says that the connection is closed."""
        name = name.lower()
        if name == b"content-length" and self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False
        elif name == b"transfer-encoding" and value.lower() == b"chunked":
            self.expected_content_length = 0
            self.chunked_encoding = True
        elif name == b"connection" and b"close" in [each.strip() for each in value.lower().split(b",")]:
            self.keep_alive = False
            return True
        return False
