"""Whatever comes over the socket is answered: no 5xx, no traceback, and the connection lives on.

The normal tests send a part of them; ``FUZZ_REQUESTS=10000 uv run pytest tests/fuzz`` sends ten thousand.
"""

import gzip
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.fuzz.odd_requests import Request, requests
from tests.harness import SERVICE
from tests.harness import settings as gateway_settings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.slow

DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress, "identity": bytes}

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1000"))
FUZZ = settings(
    max_examples=REQUESTS, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
EVERYTHING = {
    "max_batch": 3,
    "incremental": True,
    "explain": True,
    "graphiql": True,
    "cache_url": "memory://",
    "cors_origins": "https://app.example.com",
    "cache_stale_if_error": 60,
}


class Log(logging.Handler):
    """Keeps what nobody should have to read: errors, and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.wrong.append(logging.Formatter().format(record))


class Target:
    """A gateway with everything switched on, one connection to it, and its log."""

    def __init__(self, port: int, log: Log) -> None:
        self._port = port
        self._connection: socket.socket | None = None
        self._log = log
        self.connections = 0
        self.statuses: dict[int, int] = {}
        self.explained = 0

    def ask(self, request: Request) -> tuple[int, bytes, str]:
        """Send a request on the connection that is there; return the answer's status, decoded body and media type."""
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            self.connections += 1
        try:
            self._connection.sendall(request.encode())
            response = HTTPResponse(self._connection, method=request.method)
            response.begin()
            body = response.read()
            if body:  # HEAD has only the header
                body = DECODE[response.getheader("content-encoding", "identity")](body)
        except OSError:
            self.close()  # so that the next request fails for a reason of its own
            raise
        if response.will_close:
            self.close()
        self.explained += response.status == 200 and request.target.startswith("/graphql/explain")
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        return response.status, body, response.getheader("content-type", "")

    def wrong(self) -> list[str]:
        """Return what the log has of errors."""
        return self._log.wrong

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    log = Log()
    for name in ("gateway", "uvicorn", "asyncio"):
        logging.getLogger(name).addHandler(log)
    with ExitStack() as servers:
        upstream = servers.enter_context(BackgroundServer(sandbox_config(Sandbox().app))).url
        app = create_app(gateway_settings(upstream_url=upstream, **SERVICE, **EVERYTHING))
        config = gateway_config(app)
        config.timeout_keep_alive = 600  # to think of a request can take longer than a server waits for one
        target = Target(servers.enter_context(BackgroundServer(config)).port, log)
        servers.callback(target.close)
        yield target
    for name in ("gateway", "uvicorn", "asyncio"):
        logging.getLogger(name).removeHandler(log)


def test_every_request_is_answered(target: Target) -> None:
    @FUZZ
    @given(request=requests())
    def answered(request: Request) -> None:
        status, body, kind = target.ask(request)
        assert 200 <= status < 500, (status, body)
        assert b"Traceback" not in body
        assert target.wrong() == []
        if kind.startswith(("application/json", "application/graphql-response+json")) and body:
            assert isinstance(json.loads(body), (dict, list))

    answered()
    assert target.connections == 1, "none of them ended the connection"
    assert sum(target.statuses.values()) >= REQUESTS
    assert {200, 400, 404, 405, 406, 415} <= set(target.statuses), "the requests reach every part"
    assert target.explained, "and some are explained"
