"""Incremental delivery as ``multipart/mixed`` (GraphQL over HTTP, RFC Incremental Delivery; RFC 2046, section 5.1).

A part ends where the next boundary begins. Each part is sent with the boundary that follows it, so that a client knows
at once that the part is complete.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.telemetry import logger
from gateway.web.graphql.negotiation import MULTIPART, bounded, preferences
from gateway.web.request import ClientDisconnected, HttpRequest, while_connected

_HEADERS = [
    (b"content-type", b'multipart/mixed; boundary="-"'),
    (b"vary", b"accept"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx holds the parts back until all are there
]


def accepts_multipart(request: HttpRequest) -> bool:
    """Return whether the client accepts ``multipart/mixed``; it must name it, a wildcard does not count."""
    return _names_multipart(bounded(request.headers.get("accept")))


@lru_cache(maxsize=256)
def _names_multipart(accept: str | None) -> bool:
    return any(each.name == MULTIPART and each.quality > 0 for each in preferences(accept or ""))


@lru_cache(maxsize=256)
def reads_completed(accept: str | None) -> bool:
    """Return whether a `bounded` ``accept`` names the newer form of incremental delivery, such as ``v0.2``."""
    return any("incrementalspec" in each.parameters for each in preferences(accept or ""))


class MultipartResponse:
    """Sends the initial payload, and each subsequent one when it is there. A disconnect ends the operation."""

    status_code = 200

    def __init__(self, initial: dict[str, Any], subsequent: AsyncGenerator[dict[str, Any], None]) -> None:
        self._initial = initial
        self._subsequent = subsequent
        self.raw_headers = list(_HEADERS)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        async with aclosing(self._subsequent):
            try:
                await while_connected(receive, self._send(send))
            except ClientDisconnected:
                return
            except Exception:  # the status is sent; a client notices that the response is cut off
                logger.exception("an incremental response was cut off")
                raise

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"---" + _part(self._initial), "more_body": True})
        async for payload in self._subsequent:
            await send({"type": "http.response.body", "body": _part(payload), "more_body": True})
        await send({"type": "http.response.body", "body": b"--\r\n"})


def _part(payload: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(payload)
    return b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + body + b"\r\n---"
