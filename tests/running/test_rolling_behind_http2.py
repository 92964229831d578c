"""Rolling workers loses no request behind a proxy that speaks HTTP/2 with callers, and HTTP/1.1 with the gateway."""

import asyncio
import os
import signal
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import SERVICE
from tests.http1.raw_server import Authority
from tests.programs import Start, serving, until, workers
from tests.running.proxy import haproxy, nginx

CONNECTIONS = 2
THREADS = [f"th-{number}" for number in range(100, 104)]
"""Each is asked for again and again in streams of each connection."""

ENOUGH = 100
"""How many requests are answered before the roll, and again after it."""

Proxy = Callable[[list[int], Path, Path], AbstractContextManager[str]]


async def outcome(http: httpx.AsyncClient, thread: str) -> str:
    """Return the version of HTTP if the thread was answered, or else what came instead."""
    body = {"query": "query ($id: ID!) { thread(id: $id) { id } }", "variables": {"id": thread}}
    try:
        response = await http.post("/graphql", json=body)
    except httpx.HTTPError as exc:
        return repr(exc)
    if response.status_code != 200 or response.json() != {"data": {"thread": {"id": thread}}}:
        return f"{response.status_code} for {thread}: {response.text[:200]}"
    return response.http_version


@pytest.mark.parametrize("proxy", [nginx, haproxy], ids=["nginx", "haproxy"])
async def test_rolling_two_workers_behind_http2_loses_no_request(
    begin: Start, upstream: str, authority: Authority, tmp_path: Path, proxy: Proxy
) -> None:
    program = begin("serve", "--port", "0", **SERVICE, upstream_url=upstream, workers="2", shutdown_delay="1")
    port = urlsplit(serving(program)).port
    assert port is not None
    old = workers(program)
    trust = ssl.create_default_context(cafile=authority.folder / "root.pem")
    one = httpx.Limits(max_connections=1)
    outcomes: Counter[str] = Counter()
    over = asyncio.Event()

    def is_rolled() -> bool:
        current = workers(program)
        return not old & current and len(current) == 2

    async with AsyncExitStack() as stack:
        url = stack.enter_context(proxy([port, port], tmp_path, authority.folder / "server.pem"))
        clients = [
            httpx.AsyncClient(
                http1=False, http2=True, base_url=url, verify=trust, limits=one, timeout=30, trust_env=False
            )
            for _ in range(CONNECTIONS)
        ]
        for each in clients:
            await stack.enter_async_context(each)

        async def caller(http: httpx.AsyncClient, thread: str) -> None:
            while not over.is_set():
                outcomes[await outcome(http, thread)] += 1

        async def answered(more: int) -> None:
            enough = outcomes.total() + more
            await asyncio.to_thread(until, lambda: outcomes.total() >= enough, "requests are answered")

        async with asyncio.TaskGroup() as callers:
            for each, thread in product(clients, THREADS):
                callers.create_task(caller(each, thread))
            await answered(ENOUGH)
            os.kill(program.process.pid, signal.SIGHUP)
            await asyncio.to_thread(until, is_rolled, "both workers are replaced")
            await answered(ENOUGH)
            over.set()
    assert set(outcomes) == {"HTTP/2"}, outcomes
    program.process.terminate()
    assert program.end() == 0
