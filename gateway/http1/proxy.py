"""The egress proxy: a tunnel for https (RFC 9110, section 9.3.6), and for http its address and credentials.

An http origin is asked for through the proxy by the absolute form of the target (RFC 9112, section 3.2.2), which
`RequestWriter` writes.
"""

import asyncio
import base64
import re
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gateway.http1.errors import ConnectFailed

_MAX_RESPONSE = 16_384
_status = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]").match


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; ``headers`` holds the line with its credentials, or nothing."""

    host: str
    port: int
    headers: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Return the proxy of ``http://[user:password@]host[:port]``; raise ValueError for any other URL."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise ValueError("A proxy is http://[user:password@]host[:port].")
        headers = ""
        if parts.username is not None:
            account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = f"proxy-authorization: Basic {base64.b64encode(account.encode()).decode('ascii')}\r\n"
        return cls(parts.hostname, parts.port or 80, headers)


async def open_tunnel(sock: socket.socket, proxy: Proxy, authority: str) -> None:
    """Ask the proxy on ``sock`` for a tunnel to ``authority`` (host and port); raise ConnectFailed or OSError.

    The response is read to the end of its header and no further: in a tunnel the client speaks first, so anything more
    is not the origin's.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(
        sock, f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{proxy.headers}\r\n".encode("latin-1")
    )
    response = b""
    while b"\r\n\r\n" not in response:
        received = await loop.sock_recv(sock, 4096)
        response += received
        if not received or len(response) > _MAX_RESPONSE:
            raise ConnectFailed("The proxy did not answer.")
    status = _status(response)
    if status is None or not 200 <= int(status[1]) <= 299:
        raise ConnectFailed("The proxy refused the tunnel.")
    if not response.endswith(b"\r\n\r\n") or response.count(b"\r\n\r\n") > 1:
        raise ConnectFailed("The proxy sent bytes of its own into the tunnel.")
