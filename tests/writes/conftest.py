"""A gateway that may write, in front of a sandbox with two accounts."""

import pytest

from gateway.sandbox import Accounts, Sandbox
from tests.harness import Gateway, StartGateway
from tests.upstream.conftest import _shared_server, clock, redis, server

__all__ = ["_shared_server", "clock", "gateway", "redis", "sandbox", "server"]

SECOND = ("second@example.com", "second-password")


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts(dict([SECOND])))


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(mutations=True)
