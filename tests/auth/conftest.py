"""A gateway in service mode that accepts tokens, and their issuer."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.auth.issuer import AUDIENCE, NAME, Issuer
from tests.harness import Clock, Gateway, StartGateway

THREAD = '{ thread(id: "th-1") { id } }'

Ask = Callable[..., httpx.Response]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Issuer]:
    issuer = Issuer(clock)
    yield issuer
    issuer.stop()


@pytest.fixture
def start_with_tokens(start: StartGateway, issuer: Issuer, clock: Clock) -> StartGateway:
    """Start a gateway that accepts the issuer's tokens, with the given settings."""

    def start_gateway(**overrides: Any) -> Gateway:
        tokens = {
            "inbound_auth": "jwt",
            "jwt_jwks_url": issuer.url,
            "jwt_issuer": NAME,
            "jwt_audience": AUDIENCE,
            "auth_failure_limit": "1000/second",
        }
        return start(timing=clock.timing, **{**tokens, **overrides})

    return start_gateway


def ask(gateway: Gateway, token: str | None = None, **headers: str | bytes) -> httpx.Response:
    """Query a thread, with a token if one is given."""
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return gateway.http.post(
        "/graphql",
        json={"query": THREAD},
        headers=httpx.Headers([(_name(name), _value(value)) for name, value in headers.items()]),
    )


def _name(name: str) -> bytes:
    return name.replace("_", "-").encode()


def _value(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.fixture
def ask_authenticated(start_with_tokens: StartGateway) -> Ask:
    """Query a gateway that accepts the issuer's tokens."""
    return partial(ask, start_with_tokens())
