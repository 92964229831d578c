"""REST clients that log in at the sandbox, by token or by Basic, with a clock and a password of the test's own."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from gateway.auth import Viewer
from gateway.sandbox import PASSWORD, USERNAME
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_request
from tests.harness import Clock, connections

QUERY = '{ thread(id: "th-1") { id } }'


def token_client(upstream: str, clock: Clock, *, password: str = PASSWORD, pause: float = 900) -> UpstreamClient:
    sockets = connections(upstream)
    request = token_request(USERNAME, password, 60)
    login = TokenLogin(sockets, request, pause, clock, now=clock)
    return UpstreamClient(TokenAccount(sockets, login, USERNAME, clock))


def basic_client(upstream: str, clock: Clock, *, password: str = PASSWORD, pause: float = 900) -> UpstreamClient:
    guard = BasicLoginGuard(connections(upstream), pause, clock)
    return UpstreamClient(BasicAccount(guard, USERNAME, password))


async def ask(client: UpstreamClient, viewer: Viewer | None = None, thread: str = "th-100") -> bytes | None:
    deadline = asyncio.get_running_loop().time() + 60
    return await client.thread(CallContext(viewer or Viewer(None), deadline), thread)


async def ask_customer(client: UpstreamClient) -> bytes | None:
    deadline = asyncio.get_running_loop().time() + 60
    return await client.customer(CallContext(Viewer(None), deadline), "C-1001")


async def outcomes(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)
