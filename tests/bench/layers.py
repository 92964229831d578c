# ruff: noqa: T201 - a benchmark prints
"""What each layer of the REST side costs per call, switched on one after the other.

Once over a transport that answers at once, which shows the layer's own CPU time, and once over the loopback interface,
which shows what is left of it beside a socket. All stacks take turns within each round: a noisy neighbour then hits
them all. See `README.md` in this directory for how to run it and what it once said.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from gateway.auth import Viewer
from gateway.http1 import Pool, Response
from gateway.storage.memory import MemoryStore
from gateway.storage.redis import RedisConnection
from gateway.storage.shared import Store
from gateway.telemetry import Counts
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import THREAD, TOKEN
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_request
from gateway.upstream.transports.bulkhead import Bulkhead
from gateway.upstream.transports.cache import CachePolicy, ResponseCache
from gateway.upstream.transports.circuit_breaker import BreakerPolicy, CircuitBreaker
from gateway.upstream.transports.coalescing import Coalescing
from gateway.upstream.transports.retry import Retry, RetryPolicy

TASKS = 16
BODY = json.dumps(
    {"id": 1, "messages": [{"id": i, "from": f"agent-{i}", "text": "lorem ipsum " * 10} for i in range(20)]}
).encode()
CALLER = Viewer("Bearer " + "t" * 200)

NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000000; open_file_cache max=8;
  client_body_temp_path {tmp}/a; proxy_temp_path {tmp}/b; fastcgi_temp_path {tmp}/c;
  uwsgi_temp_path {tmp}/d; scgi_temp_path {tmp}/e;
  server {{
    listen 127.0.0.1:{port}; default_type application/json;
    location / {{ root {tmp}; rewrite ^ /body.json break; }}
  }}
}}
"""


class AtOnce:
    """Answers without a socket: what is left is the cost of everything above."""

    async def send(self, request: RestRequest) -> Response:
        """Answer the login with a token, and everything else with the body."""
        return Response(200, {}, b'{"access_token": "t"}' if request.route is TOKEN else BODY)

    async def aclose(self) -> None:
        """Do nothing."""


@dataclass
class Stack:
    """Some of the layers, and what was measured of them. ``repeats``: calls ask for the same again, as for a hit."""

    name: str
    transport: Transport
    repeats: bool = False
    cpu: list[float] = field(default_factory=list)  # CPU seconds per call, one per round
    rates: list[float] = field(default_factory=list)  # calls per second, one per round


def stacks(bottom: Callable[[], Transport], redis_url: str | None) -> Iterator[Stack]:
    """Build the stacks from the bottom up, in the order of `gateway.upstream.stack`."""

    def resilient(layers: int) -> Transport:
        transport = bottom()
        wraps: list[Callable[[Transport], Transport]] = [
            lambda following: Bulkhead(following, 64, 1000),
            lambda following: CircuitBreaker(following, BreakerPolicy()),
            lambda following: Retry(following, RetryPolicy()),
        ]
        for wrap in wraps[:layers]:
            transport = wrap(transport)
        return transport

    def cached(store: Store) -> Transport:
        policy = CachePolicy({THREAD.template: 3600})
        return Coalescing(ResponseCache(resilient(3), store, policy, b"secret", counts=Counts()))

    for layers, name in enumerate(("connections", "+ concurrency", "+ breaker", "+ retry")):
        yield Stack(name, resilient(layers))
    yield Stack("+ coalescing", Coalescing(resilient(3)))
    yield Stack("+ cache in memory, miss", cached(MemoryStore(2**26)))
    yield Stack("+ cache in memory, hit", cached(MemoryStore(2**26)), repeats=True)
    if redis_url is not None:
        yield Stack("+ cache in Redis, miss", cached(RedisConnection(redis_url, 1, Counts()).store("cache")))
        yield Stack(
            "+ cache in Redis, hit", cached(RedisConnection(redis_url, 1, Counts()).store("cache")), repeats=True
        )
    yield Stack("+ coalescing, caller's Bearer", BasicLoginGuard(Coalescing(resilient(3))))
    yield Stack("+ coalescing, own Basic", BasicAccount(BasicLoginGuard(Coalescing(resilient(3))), "user", "word"))
    login = TokenLogin(AtOnce(), token_request("user", "word", 10), 900)
    yield Stack("+ coalescing, own token", TokenAccount(Coalescing(resilient(3)), login, "user"))


async def load(stack: Stack, seconds: float, tasks: int, *, record: bool = True) -> None:
    """Keep ``tasks`` calls under way for a while."""
    client = UpstreamClient(stack.transport)
    numbers = itertools.count()
    started, cpu_started, calls = time.perf_counter(), time.process_time(), 0
    loop = asyncio.get_running_loop()

    async def repeat(task: int) -> None:
        nonlocal calls
        while time.perf_counter() < started + seconds:
            # A miss must be one in every round.
            ident = f"same-{task}" if stack.repeats else f"{started}-{next(numbers)}"
            if await client.thread(CallContext(CALLER, loop.time() + 10), ident) != BODY:
                raise SystemExit(f"{stack.name}: not the expected body")
            calls += 1

    async with asyncio.TaskGroup() as group:
        for task in range(tasks):
            group.create_task(repeat(task))
    if record:
        stack.cpu.append((time.process_time() - cpu_started) / calls)
        stack.rates.append(calls / (time.perf_counter() - started))


@contextlib.asynccontextmanager
async def opened(bottom: Callable[[], Transport], redis_url: str | None) -> AsyncIterator[list[Stack]]:
    """Give the stacks, and close them."""
    found = list(stacks(bottom, redis_url))
    try:
        yield found
    finally:
        for stack in found:
            await stack.transport.aclose()


async def measure(url: str, redis_url: str | None, rounds: int, seconds: float) -> None:
    """Let all stacks take turns, several times, over each of the two bottoms, and report."""
    for title, bottom, tasks in (
        ("no socket, one call at a time", AtOnce, 1),
        (f"loopback, {TASKS} calls at a time", lambda: Pool(url), TASKS),
    ):
        async with opened(bottom, redis_url) as found:
            for stack in found:
                await load(stack, 0.1, tasks, record=False)
            for _ in range(rounds):
                for stack in found:
                    await load(stack, seconds, tasks)
            report(title, found)


def report(title: str, found: list[Stack]) -> None:
    """Print a table. A layer's own cost is that of the quietest round, against the stack that it was put on."""
    below = {"+ concurrency": 0, "+ breaker": 1, "+ retry": 2, "+ coalescing": 3}
    print(f"\n{title:36}{'CPU us':>8}{'added us':>10}{'median..most':>14}{'calls/s':>9}")
    cost = [min(stack.cpu) * 1e6 for stack in found]
    for number, stack in enumerate(found):
        base = below.get(stack.name, 4)
        added = "" if number == 0 else f"{cost[number] - cost[base]:+.1f}"
        spread = f"{statistics.median(stack.cpu) * 1e6:.0f}..{max(stack.cpu) * 1e6:.0f}"
        print(f"{stack.name:36}{cost[number]:8.1f}{added:>10}{spread:>14}{statistics.median(stack.rates):9.0f}")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + BODY)


async def _serve(port: int) -> None:
    async with await asyncio.start_server(_answer, "127.0.0.1", port) as server:
        await server.serve_forever()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{command[0]} does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Run nginx, or else a small asyncio server, as a process of its own; give its URL."""
    port, nginx = _free_port(), shutil.which("nginx")
    with tempfile.TemporaryDirectory() as tmp:
        (Path(tmp) / "body.json").write_bytes(BODY)
        (Path(tmp) / "nginx.conf").write_text(NGINX_CONF.format(tmp=tmp, port=port))
        ours = [sys.executable, __file__, "--serve", str(port)]
        with _running([nginx, "-p", tmp, "-c", f"{tmp}/nginx.conf"] if nginx else ours, port):
            print(f"upstream: {'nginx' if nginx else 'asyncio'}, {len(BODY)} bytes; uvloop")
            yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    """Run a Redis that keeps nothing on disk; give its URL, or None where the program is missing."""
    program, port = shutil.which("redis-server"), _free_port()
    if program is None:
        print("redis-server is not installed: the cache in Redis is left out")
        yield None
        return
    with _running([program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], port):
        yield f"redis://127.0.0.1:{port}/0"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.15, help="per stack and round")
    parser.add_argument("--serve", type=int, metavar="PORT", help="only be the upstream, where nginx is missing")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if options.serve:
            return runner.run(_serve(options.serve))
        pin: Callable[[int, list[int]], None] = getattr(os, "sched_setaffinity", lambda *_: None)  # not on macOS
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        pin(0, cores[1:2] or cores)  # inherited by the upstream and Redis
        with upstream() as url, redis() as redis_url:
            pin(0, cores[:1])
            return runner.run(measure(url, redis_url, options.rounds, options.seconds))


if __name__ == "__main__":
    main()
