"""An answer in parts, as ``multipart/mixed`` (GraphQL over HTTP, RFC Incremental Delivery; RFC 2046, section 5.1).

A part ends where the next boundary begins, so that each is sent with the boundary after it: a client has not to wait
for the part that follows to know that this one is complete.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.telemetry import logger
from gateway.web.graphql.decode import ClientDisconnected, while_connected
from gateway.web.graphql.negotiation import preference

MULTIPART = "multipart/mixed"
_HEADERS = [
    (b"content-type", b'multipart/mixed; boundary="-"'),
    (b"vary", b"accept"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx keeps the parts until all are there
]


@lru_cache(maxsize=256)
def takes_parts(accept: str | None) -> bool:
    """Return whether a client takes ``multipart/mixed``; it has to say so by name."""
    return any(name == MULTIPART and quality > 0 for name, quality in map(preference, (accept or "").split(",")))


class MultipartResponse:
    """Sends the first part, and the others as they come. A client that hangs up ends the operation."""

    status_code = 200

    def __init__(self, first: dict[str, Any], following: AsyncGenerator[dict[str, Any], None]) -> None:
        self._first = first
        self._following = following
        self.raw_headers = list(_HEADERS)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        async with aclosing(self._following):
            try:
                await while_connected(receive, self._send(send))
            except ClientDisconnected:
                return
            except Exception:  # the status is sent: all that is left is to break off, which a client notices
                logger.exception("an answer in parts broke off")
                raise

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"---" + _part(self._first), "more_body": True})
        async for part in self._following:
            await send({"type": "http.response.body", "body": _part(part), "more_body": True})
        await send({"type": "http.response.body", "body": b"--\r\n"})


def _part(payload: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(payload)
    return b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + body + b"\r\n---"
