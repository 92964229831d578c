"""A new connection: the host's addresses, tried in an order in which none holds the others up, then proxy and TLS."""

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from gateway.http1.connection import Connection
from gateway.http1.errors import ConnectFailed, ConnectTimedOut, OutOfDescriptors
from gateway.http1.origin import Origin
from gateway.http1.proxy import Proxy, open_tunnel

HEAD_START = 0.25
"""How long an address is tried before the next one is tried beside it, in seconds (RFC 8305, section 8)."""

Address: TypeAlias = tuple[int, tuple[object, ...]]
"""An address family, and the address as sockets take it."""
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Returns the addresses of a host, in order of preference."""

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return the addresses that the system's resolver knows; raise OSError or UnicodeError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # A resolver that has no descriptor left fails with any error: its own, or that of the module it asked last.
        socket.socket().close()  # raises EMFILE or ENFILE then
        raise
    return [(family, address) for family, _, _, _, address in found]


class Connector:
    """Opens connections to one origin. It resolves the host for each, so that changes of DNS are followed."""

    def __init__(self, origin: Origin, tls: ssl.SSLContext | None, proxy: Proxy | None, resolver: Resolve) -> None:
        self._origin = origin
        self._proxy = proxy
        self._resolver = resolver
        self._tls = (tls or ssl.create_default_context()) if origin.is_tls else None

    async def connect(self, new_connection: Callable[[], Connection], within: float) -> Connection:
        """Return a connection opened ``within`` so many seconds.

        Raise ConnectFailed, ConnectTimedOut or OutOfDescriptors.
        """
        try:
            async with asyncio.timeout(within):
                return await self._connect(new_connection)
        except TimeoutError as exc:
            raise ConnectTimedOut("No connection was opened in time.") from exc
        except ssl.SSLError as exc:
            raise ConnectFailed("TLS could not be agreed upon.") from exc
        except OSError as exc:
            if exc.errno in _OUT_OF_DESCRIPTORS:
                raise OutOfDescriptors("Too many files are open.") from exc
            raise ConnectFailed("No connection could be opened.") from exc
        except UnicodeError as exc:
            raise ConnectFailed("The host's name cannot be resolved.") from exc

    async def _connect(self, new_connection: Callable[[], Connection]) -> Connection:
        origin, proxy = self._origin, self._proxy
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        sock = await first_to_connect(interleaved(await self._resolver(host, port)))
        try:
            if proxy is not None and origin.is_tls:
                await open_tunnel(sock, proxy, origin.authority)
        except BaseException:
            sock.close()
            raise
        name = origin.host if origin.is_tls else None
        _, connection = await asyncio.get_running_loop().create_connection(
            new_connection, sock=sock, ssl=self._tls, server_hostname=name
        )
        return connection


def interleaved(addresses: Sequence[Address]) -> Sequence[Address]:
    """Return the addresses with their families in turn, the resolver's first family first (RFC 8305, section 4)."""
    by_family: dict[int, deque[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], deque()).append(address)
    queues = deque(by_family.values())
    ordered = []
    while queues:
        queue = queues.popleft()
        ordered.append(queue.popleft())
        if queue:
            queues.append(queue)
    return ordered


async def first_to_connect(addresses: Sequence[Address], head_start: float = HEAD_START) -> socket.socket:
    """Return a socket connected to the address that is reached first; raise OSError where none is.

    An address is tried when the one before failed, or ``head_start`` seconds after it was begun. This is not left to
    the event loop because uvloop tries one address after the other.
    """
    if len(addresses) == 1:
        return await _connected(addresses[0])
    waiting = deque(addresses)
    tries: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("The host has no address.")
    try:
        while waiting or tries:
            if waiting:
                tries.add(asyncio.create_task(_connected(waiting.popleft())))
            done, _ = await asyncio.wait(
                tries, timeout=head_start if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                tries.remove(each)
                error = each.exception()
                if error is None:
                    return each.result()
                failure = error
        raise failure
    finally:
        await _abandon(tries)


async def _abandon(tries: set[asyncio.Task[socket.socket]]) -> None:
    for each in tries:
        each.cancel()
    for outcome in await asyncio.gather(*tries, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()


async def _connected(address: Address) -> socket.socket:
    family, sockaddr = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
