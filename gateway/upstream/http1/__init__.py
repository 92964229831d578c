"""HTTP/1.1 to one origin: a connection pool in which no answer reaches another call than its own.

    errors           how a call can fail
    messages         the request and the answer, both frozen
    parser           the bytes of one answer, bounded, on httptools
    connection       one connection, and the states it can be in: the safety argument starts there
    origin           a scheme, a host and a port
    connector        a new connection: addresses, the proxy, TLS
    proxy            the egress proxy: CONNECT and absolute-form
    pool             which connection a call gets
    httpx_transport  httpx around the same pool, for the calls that are not made often

Nothing here knows the REST API.
"""

from gateway.upstream.http1.errors import (
    AnswerTooLarge,
    CallFailed,
    ConnectFailed,
    ConnectionBroken,
    ConnectTimedOut,
    InvalidAnswer,
    InvalidRequest,
    OutOfDescriptors,
    ReadTimedOut,
    StrayAnswer,
)
from gateway.upstream.http1.httpx_transport import PoolTransport
from gateway.upstream.http1.messages import NO_HEADERS, Answer, HeaderLines, Request
from gateway.upstream.http1.origin import Origin
from gateway.upstream.http1.pool import Pool, PoolSettings, PoolState

__all__ = [
    "NO_HEADERS",
    "Answer",
    "AnswerTooLarge",
    "CallFailed",
    "ConnectFailed",
    "ConnectTimedOut",
    "ConnectionBroken",
    "HeaderLines",
    "InvalidAnswer",
    "InvalidRequest",
    "Origin",
    "OutOfDescriptors",
    "Pool",
    "PoolSettings",
    "PoolState",
    "PoolTransport",
    "ReadTimedOut",
    "Request",
    "StrayAnswer",
]
