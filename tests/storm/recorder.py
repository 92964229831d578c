"""What the sandbox saw and said, and whether the gateway could know it.

An answer counts only if the gateway had not closed the connection when it left, and if it left well before the end of
the gateway's time: on a busy machine, the gateway may come to read a later one when that is over.
"""

import asyncio
import re
import select
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.sandbox.http.exchange import TRANSPORT

_MARK = re.compile(rb"mark-(\d+)\b")
_READ = re.compile(r"/api/v1/thread/storm-(\d+)(/messages)?")
_SETTLE = {204, 400, 409, 422}
_SECONDS_TO_ANSWER = 0.4
"""Of a write, from its arrival: the gateway waits for 0.7 seconds."""
_SECONDS_TO_READ = 1.0
"""From the first read after a write: the gateway reads for 2 seconds, and looks again after half a second."""


@dataclass(slots=True)
class Recorder:
    """An ASGI application around the sandbox. It knows a write by its mark, a number that is in its body."""

    app: ASGIApp
    arrived: Counter[int] = field(default_factory=Counter)
    """How often each write arrived, but for refusals after which it may be sent again."""
    settled: set[int] = field(default_factory=set)
    """The writes whose answer came in time, as a whole, and says what became of them."""
    looked: set[int] = field(default_factory=set)
    """The writes whose thread the gateway had read before they arrived."""
    shown: set[int] = field(default_factory=set)
    """The writes that a read of their thread showed in time."""
    first_read: dict[int, float] = field(default_factory=dict)
    """When the thread was read first after the write had arrived, by a clock that only goes on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await _Exchange(self, scope, receive, send).serve()


class _Exchange:
    """One request and its response."""

    def __init__(self, recorder: Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        self._recorder = recorder
        self._scope = scope
        self._receive = receive
        self._send = send
        self._write: int | None = None
        read = _READ.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        self._read = None if read is None else int(read[1])
        self._began = time.monotonic()
        self._status = 0
        self._body = b""

    async def serve(self) -> None:
        await self._recorder.app(self._scope, self._received, self._sent)

    async def _received(self) -> Message:
        message = await self._receive()
        found = _MARK.search(message.get("body", b""))
        if found is not None:
            self._write = int(found[1])
            self._recorder.arrived[self._write] += 1
        return message

    async def _sent(self, message: Message) -> None:
        self._status = message.get("status", self._status)
        self._body += message.get("body", b"")
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)
        if not is_last:
            return
        await asyncio.sleep(0)  # the server may write at the end of this turn of its loop
        if self._write is not None:
            self._wrote(self._write, listens=_listens(self._scope) and self._elapsed() < _SECONDS_TO_ANSWER)
        elif self._read is not None and self._status == 200 and _listens(self._scope):
            self._was_read(self._read)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _was_read(self, mark: int) -> None:
        recorder = self._recorder
        if not recorder.arrived[mark]:
            recorder.looked.add(mark)
            return
        first = recorder.first_read.setdefault(mark, self._began)
        is_shown = mark in {int(each) for each in _MARK.findall(self._body)}
        if is_shown and time.monotonic() - first < _SECONDS_TO_READ:
            recorder.shown.add(mark)

    def _wrote(self, mark: int, *, listens: bool) -> None:
        is_object = self._status == 200 and self._body.startswith(b"{")  # and not the page of a proxy
        if self._status in {403, 429}:
            self._recorder.arrived[mark] -= 1  # it was refused: its client may send it again
        elif listens and (is_object or self._status in _SETTLE):
            self._recorder.settled.add(mark)


def _listens(scope: Scope) -> bool:
    """Return whether the other side has not closed the connection, by what the kernel knows at this moment."""
    transport: Any = scope["extensions"][TRANSPORT]["transport"]
    if transport.is_closing():
        return False
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return not poller.poll(0)
