"""What the sandbox saw and said. An answer counts only if the gateway had not closed the connection before it."""

import re
import select
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.sandbox.http.exchange import TRANSPORT

_MARK = re.compile(rb"mark-(\d+)\b")
_READ = re.compile(r"/api/v1/thread/storm-(\d+)(/messages)?")
_SETTLE = {204, 400, 409, 422}


@dataclass(slots=True)
class Recorder:
    """An ASGI application around the sandbox. It knows a write by its mark, a number that is in its body."""

    app: ASGIApp
    arrived: Counter[int] = field(default_factory=Counter)
    """How often each write arrived, but for refusals after which it may be sent again."""
    settled: set[int] = field(default_factory=set)
    """The writes whose whole answer went to a gateway that still listened, and says what became of them."""
    looked: set[int] = field(default_factory=set)
    """The writes whose thread the gateway had read before they took effect."""
    shown: set[int] = field(default_factory=set)
    """The writes that the gateway could read in their thread after that."""

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
        listens = not is_last or _listens(self._scope)
        await self._send(message)
        if is_last and self._write is not None:
            self._wrote(self._write, listens=listens)
        elif is_last and self._read is not None and listens and self._status == 200:
            found = {int(mark) for mark in _MARK.findall(self._body)}
            (self._recorder.shown if self._read in found else self._recorder.looked).add(self._read)

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
