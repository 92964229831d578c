"""HTTP/1.1 to one origin: a connection pool in which no response reaches another call than its own.

    errors           how a call can fail
    messages         the request and the response, both frozen
    parser           the bytes of one response, bounded, on httptools
    connection       one connection, and the states it can be in: the safety argument starts there
    origin           a scheme, a host and a port
    connector        a new connection: addresses, the proxy, TLS
    proxy            the egress proxy: CONNECT and absolute-form
    pool             which connection a call gets
    httpx_transport  httpx around the same pool, for the calls that are not made often

Nothing here knows the REST API.
"""

from gateway.http1.connection import Discarded
from gateway.http1.errors import (
    CallFailed,
    ConnectFailed,
    ConnectionBroken,
    ConnectTimedOut,
    InvalidRequest,
    InvalidResponse,
    OutOfDescriptors,
    ReadTimedOut,
    ResponseTooLarge,
    StrayResponse,
)
from gateway.http1.httpx_transport import PoolTransport
from gateway.http1.messages import NO_HEADERS, HeaderLines, Request, Response, StreamedBody
from gateway.http1.origin import Origin
from gateway.http1.pool import Pool, PoolSettings, PoolState

__all__ = [
    "NO_HEADERS",
    "CallFailed",
    "ConnectFailed",
    "ConnectTimedOut",
    "ConnectionBroken",
    "Discarded",
    "HeaderLines",
    "InvalidRequest",
    "InvalidResponse",
    "Origin",
    "OutOfDescriptors",
    "Pool",
    "PoolSettings",
    "PoolState",
    "PoolTransport",
    "ReadTimedOut",
    "Request",
    "Response",
    "ResponseTooLarge",
    "StrayResponse",
    "StreamedBody",
]
