"""Which connection a call gets: the one used last, or a new one, and never one that may hold unread bytes."""

import asyncio
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.http1.connection import Connection, Discarded
from gateway.http1.connector import Connector, Resolve, resolve
from gateway.http1.errors import ConnectFailed, ConnectionBroken
from gateway.http1.messages import Request, RequestWriter, Response
from gateway.http1.origin import Origin
from gateway.http1.proxy import Proxy


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The bounds of a pool; times are in seconds.

    A connection is not used again after ``max_age``, so that changes of DNS are followed, nor after ``max_idle``
    without a call, which should be less than the server's idle timeout. ``max_body`` counts decompressed bytes.
    ``proxy_url`` is ``http://[user:password@]host[:port]``.
    """

    max_connections: int = 64
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_age: float = 120.0
    max_idle: float = 30.0
    max_body: int = 32 * 2**20
    proxy_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PoolState:
    """The pool's state, for metrics.

    ``open`` counts sockets, those in use included; ``opened`` all connections so far; ``reconnects`` the requests sent
    again because the kept connection they went out on was dead; ``discarded`` the connections closed, by reason;
    ``waiting`` the calls that wait for a connection.
    """

    open: int
    idle: int
    waiting: int
    opened: int
    reconnects: int
    discarded: Mapping[str, int]


class Pool:
    """Connections to the origin of ``base_url``, whose path goes before every request's target.

    A call takes one of ``max_connections`` slots, waiting in line where none is free, and then the idle connection
    that was used last; so the others grow old and are closed when they are not needed. Nothing of the environment is
    read, no redirect followed, no cookie kept. A cancelled call closes its connection. A pool belongs to the event
    loop of its first call, and ends with `aclose`.

    ``tls`` holds the certificates to trust and the client's own; without it an https origin is checked against the
    machine's. ``clock`` is for ages; ``resolver`` finds the addresses of a host.
    """

    def __init__(
        self,
        base_url: str,
        settings: PoolSettings | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        resolver: Resolve = resolve,
    ) -> None:
        settings = settings or PoolSettings()
        proxy = None if settings.proxy_url is None else Proxy.of(settings.proxy_url)
        self.origin = Origin.of(base_url)
        self.settings = settings
        self._read_timeout = settings.read_timeout
        self._clock = clock
        self._writer = _writer(self.origin, urlsplit(base_url).path.rstrip("/"), proxy)
        self._connector = Connector(self.origin, tls, proxy, resolver)
        self._free = settings.max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # a stack from which any member can be taken
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._opened = 0
        self._reconnects = 0
        self._discarded: Counter[str] = Counter()

    async def send(self, request: Request) -> Response:
        """Return the response to ``request``; raise a CallFailed where there is none."""
        head = self._writer.head(request)
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait()
        try:
            connection = (None if request.new_connection else self._take()) or await self._connect(request)
            while True:
                try:
                    if request.on_send is not None:
                        request.on_send()
                    response = await connection.send(
                        head,
                        request.body,
                        self._read_timeout if request.read_timeout is None else request.read_timeout,
                        is_head=request.method == "HEAD",
                    )
                except ConnectionBroken as exc:
                    if not self._is_sent_again(request, connection, exc):
                        raise
                except BaseException:
                    connection.close("cancelled")  # unless it failed, and is closed
                    raise
                else:
                    if connection.reusable:
                        self._keep(connection)
                    return response
                connection = await self._connect(request)
        finally:
            self._release()

    def state(self) -> PoolState:
        """Return what there is, and what there was so far."""
        waiting = sum(not each.done() for each in list(self._waiting))  # a copy: metrics read this in another thread
        return PoolState(
            len(self._open), len(self._idle), waiting, self._opened, self._reconnects, dict(self._discarded)
        )

    def close_expired(self) -> None:
        """Close the connections that are idle for too long, or too old; a timer calls this while any is idle."""
        now = self._clock()
        for connection in list(self._idle):
            if now > connection.expires_at:
                connection.close("expired")
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._idle:
            self._sweep_later()

    async def aclose(self) -> None:
        """Close every connection and wait until the sockets are closed; calls under way fail, and so do later ones."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        connections = list(self._open)
        for connection in connections:
            connection.close("pool_closed")
        await asyncio.gather(*(connection.lost for connection in connections))

    # one call

    def _is_sent_again(self, request: Request, connection: Connection, exc: ConnectionBroken) -> bool:
        """Return whether the request goes out once more because the kept connection it went out on was dead."""
        calls_before = connection.calls - exc.request_sent
        if self._closed or exc.response_begun or not calls_before:
            return False
        # The server, or something before it, gave up kept connections: more of them are likely to be dead.
        for idle in list(self._idle):
            idle.close("suspect")
        if exc.request_sent and not request.is_safe:
            return False
        self._reconnects += 1
        return True

    async def _connect(self, request: Request) -> Connection:
        if self._closed:
            raise ConnectFailed("The pool is closed.")
        if len(self._open) >= self.settings.max_connections and self._idle:
            next(iter(self._idle)).close("replaced")
        timeout = self.settings.connect_timeout if request.connect_timeout is None else request.connect_timeout
        connection = await self._connector.connect(self._new_connection, timeout)
        self._opened += 1
        connection.opened_at = self._clock()
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        if self._closed:
            connection.close("pool_closed")
            raise ConnectFailed("The pool is closed.")
        return connection

    def _new_connection(self) -> Connection:
        return Connection(self.settings.max_body, self._forget)

    # the idle connections

    def _take(self) -> Connection | None:
        """Return the connection used last that is safe to reuse, and close those above it that are not."""
        now = self._clock()
        while self._idle:
            connection, _ = self._idle.popitem()
            if now > connection.expires_at:
                connection.close("expired")
            elif connection.readable():
                connection.close("readable")
            else:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        settings = self.settings
        connection.expires_at = min(self._clock() + settings.max_idle, connection.opened_at + settings.max_age)
        self._idle[connection] = None
        if self._sweep is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self.settings.max_idle, self.close_expired)

    def _forget(self, connection: Connection, reason: Discarded) -> None:
        self._idle.pop(connection, None)
        self._discarded[reason] += 1

    # the slots

    async def _wait(self) -> None:
        """Wait in line for a slot, and take it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release()  # it was this call's turn as it was cancelled
            raise

    def _release(self) -> None:
        """Give the slot to the next in line."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _writer(origin: Origin, path: str, proxy: Proxy | None) -> RequestWriter:
    """Return what writes requests for the origin itself, or for a proxy that takes them in the absolute form."""
    if proxy is None or origin.is_tls:
        return RequestWriter(origin.host_header, path)
    return RequestWriter(origin.host_header, f"{origin}{path}", proxy.headers)
