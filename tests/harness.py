"""How tests configure a gateway, talk to it, and control its clock."""

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.auth import Authenticator, authenticator
from gateway.clock import REAL_TIME, Timing
from gateway.http1 import Pool, PoolSettings, Response
from gateway.sandbox import PASSWORD, USERNAME
from gateway.settings import Settings, catalogue, load_settings
from gateway.storage.shared import shared_by
from gateway.telemetry import Counts
from gateway.upstream import stack
from gateway.upstream.call import Call, RestRequest
from gateway.upstream.client import UpstreamClient
from gateway.upstream.contract import THREAD

SERVICE = {
    "upstream_identity": "service",
    "upstream_username": USERNAME,
    "upstream_password": PASSWORD,
    "inbound_auth": "none",
}
NO_ENV_FILE = Path(os.devnull)
# Loading the system's certificates takes longer than most tests, and no client in the tests uses TLS.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
FIELDS = {name: setting.field for name, setting in catalogue().items()}
"""The field of every setting by its name."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, and an HTTP client for it."""

    http: httpx.Client
    url: str

    def query(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Run an operation, assert status 200, and return the whole response."""
        response = self.http.post("/graphql", json={"query": document, "variables": variables})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def data(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Run an operation, assert that it has no errors, and return its data."""
        answer = self.query(document, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def code(self, document: str, /, **variables: Any) -> str:
        """Run an operation, assert that it has exactly one error, and return its code."""
        (error,) = self.query(document, **variables)["errors"]
        code: str = error["extensions"]["code"]
        return code


class Clock:
    """A clock that only tests set, and a sleep that moves it on and returns at once."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        """The clock for a gateway, with jitter always at its maximum."""
        return Timing(clock=self, now=self, sleep=self.sleep, jitter=lambda most: most)


StartGateway = Callable[..., Gateway]


def with_account(**overrides: Any) -> dict[str, Any]:
    """Return ``overrides``, with the gateway's account of `SERVICE` unless they choose passthrough."""
    return {**(SERVICE if overrides.get("upstream_identity", "service") == "service" else {}), **overrides}


def settings(**overrides: Any) -> Settings:
    """Return settings without those of the developer's own `.env` file."""
    return load_settings(overrides, env_file=NO_ENV_FILE)


def build_client(chosen: Settings, counts: Counts | None = None, timing: Timing = REAL_TIME) -> UpstreamClient:
    """Return the REST client of a gateway with these settings."""
    return stack.build_client(chosen.upstream, chosen.cache, shared_by(chosen.cache, timing, counts))


def build_upstream(
    chosen: Settings, counts: Counts | None = None, timing: Timing = REAL_TIME, **options: Any
) -> stack.Upstream:
    """Return the REST side of a gateway with these settings."""
    return stack.build_upstream(chosen.upstream, chosen.cache, shared_by(chosen.cache, timing, counts), **options)


def connections(url: str) -> Pool:
    """Return the socket side of calls to ``url``, with more connections than any test needs."""
    return Pool(url, PoolSettings(max_connections=1000))


class ClockedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is set by the test."""

    now = 0.0

    def time(self) -> float:
        return self.now


def rest_request(target: str = "/", *, method: str = "GET", seconds: float = 60, **options: Any) -> RestRequest:
    """Return a request of the thread's route, whose deadline is in so many seconds; ``options`` are its attributes."""
    options.setdefault("call", Call(asyncio.get_running_loop().time() + seconds))
    return RestRequest(method, target, **{"route": THREAD, **options})


def rest_response(status: int = 200, body: bytes = b"", /, *, json: Any = None, **headers: str) -> Response:
    """Return a response of the REST API; an underscore in a header's name stands for a hyphen."""
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Response(status, fields, body if json is None else msgspec.json.encode(json))


def build_authenticator(chosen: Settings, timing: Timing = REAL_TIME, counts: Counts | None = None) -> Authenticator:
    """Return the authenticator of a gateway with these settings."""
    shared = shared_by(chosen.cache, timing, counts)
    return authenticator.build_authenticator(chosen.auth, chosen.upstream, chosen.cache, shared)
