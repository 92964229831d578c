"""What tests start a gateway with, and how they talk to it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.clock import Timing
from gateway.sandbox import PASSWORD, USERNAME
from gateway.settings import Settings, load_settings

SERVICE = {
    "upstream_identity": "service",
    "upstream_username": USERNAME,
    "upstream_password": PASSWORD,
    "inbound_auth": "none",
}
NO_ENV_FILE = Path(os.devnull)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway; ``http`` is a client that knows its address."""

    http: httpx.Client
    url: str

    def query(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Run an operation that HTTP answers with 200, and return the whole response."""
        response = self.http.post("/graphql", json={"query": document, "variables": variables})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def data(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Run an operation that has no errors, and return its data."""
        answer = self.query(document, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def code(self, document: str, /, **variables: Any) -> str:
        """Run an operation with exactly one error, and return its code."""
        (error,) = self.query(document, **variables)["errors"]
        code: str = error["extensions"]["code"]
        return code


class Clock:
    """A clock that goes when it is told to, and a sleep that takes no time but the clock's."""

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
        """The clock as the gateway takes it, with the longest jitter there is."""
        return Timing(clock=self, now=self, sleep=self.sleep, jitter=lambda most: most)


StartGateway = Callable[..., Gateway]


def settings(**overrides: Any) -> Settings:
    """Return settings that the machine's own environment has no part in."""
    return load_settings(overrides, env_file=NO_ENV_FILE)
