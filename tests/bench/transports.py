# ruff: noqa: T201 - a benchmark prints
"""Compare the ways to send one REST call: the transports httpx can use, and how they are called.

The upstream is static and runs on another core, so the figures are the client's own cost. All ways take turns
within each round: a noisy neighbour then hits them all, and the ratios hold even where the figures do not.
See `README.md` in this directory for how to run it and what it once said.
"""

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import uvloop
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from gateway.http1 import HeaderLines, Origin, Pool, PoolSettings, PoolTransport, Request

TASKS = 16
WARM_UP = 0.3  # seconds
HEADERS = {"Accept": "application/json", "Authorization": "Bearer " + "t" * 200, "X-Request-ID": "0" * 32}
TIMEOUT = httpx.Timeout(5)
LIMITS = httpx.Limits(max_connections=TASKS, max_keepalive_connections=TASKS)
BODY = json.dumps(
    {"id": 1, "messages": [{"id": i, "from": f"agent-{i}", "text": "lorem ipsum " * 10} for i in range(20)]}
).encode()

Send = Callable[[], Awaitable[bytes]]

NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000000; open_file_cache max=8;
  client_body_temp_path {tmp}/a; proxy_temp_path {tmp}/b; fastcgi_temp_path {tmp}/c;
  uwsgi_temp_path {tmp}/d; scgi_temp_path {tmp}/e;
  server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ root {tmp}; }} }}
}}
"""


@dataclass
class Way:
    """One way to send a request, and what was measured of it."""

    name: str
    send: Send
    rates: list[float] = field(default_factory=list)  # requests per second, one per round
    cpu: list[float] = field(default_factory=list)  # CPU seconds of this process per request, one per round
    latencies: list[float] = field(default_factory=list)  # seconds, one per request


class LeanTransport(httpx.AsyncBaseTransport):
    """What pyreqwest's own transport costs beyond need: this sketch cannot stream and maps no exceptions."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and read the whole answer."""
        builder = self._client.request(request.method, str(request.url))
        builder = builder.headers(request.headers.multi_items()).body_bytes(request.content)
        answer = await builder.timeout(timedelta(seconds=5)).build().send()
        body = (await answer.bytes()).to_bytes()
        return httpx.Response(answer.status, headers=list(answer.headers.items()), content=body)


def through_client(client: httpx.AsyncClient, url: str) -> Send:
    async def send() -> bytes:
        return (await client.get(url)).content

    return send


def through_transport(transport: httpx.AsyncBaseTransport, url: str) -> Send:
    headers = httpx.Headers({**HEADERS, "Host": httpx.URL(url).netloc.decode()})
    extensions = {"timeout": TIMEOUT.as_dict()}

    async def send() -> bytes:
        request = httpx.Request("GET", url, headers=headers, extensions=extensions)
        return await (await transport.handle_async_request(request)).aread()

    return send


def through_pyreqwest(client: Client, url: str) -> Send:
    headers = list(HEADERS.items())
    timeout = timedelta(seconds=5)

    async def send() -> bytes:
        answer = await client.get(url).headers(headers).timeout(timeout).build().send()
        return bytes(await answer.bytes())

    return send


def through_pool(pool: Pool, url: str) -> Send:
    target = httpx.URL(url).path
    headers = HeaderLines.of(HEADERS.items())

    async def send() -> bytes:
        return (await pool.send(Request("GET", target, headers=headers))).body

    return send


def pyreqwest_client() -> Client:
    """Switch off what an httpx transport leaves to its caller: proxies, redirects and decompression."""
    return (
        ClientBuilder().no_proxy().follow_redirects(enable=False)
        .gzip(enable=False).brotli(enable=False).zstd(enable=False).deflate(enable=False)
        .connect_timeout(timedelta(seconds=5)).read_timeout(timedelta(seconds=5))
        .build()
    )  # fmt: skip


@contextlib.asynccontextmanager
async def ways(url: str) -> AsyncIterator[list[Way]]:
    """Open each transport and list what to measure, the one to compare with first."""
    transports: dict[str, httpx.AsyncBaseTransport] = {"httpx": httpx.AsyncHTTPTransport(limits=LIMITS)}
    if importlib.util.find_spec("httpx_aiohttp"):
        transports["httpx-aiohttp"] = importlib.import_module("httpx_aiohttp").AiohttpTransport(limits=LIMITS)
    pool = Pool(str(Origin.of(url)), PoolSettings(max_connections=TASKS))
    transports["the gateway's"] = PoolTransport(Pool, [pool])
    transports["pyreqwest's transport"] = HttpxTransport(pyreqwest_client())
    transports["pyreqwest, lean transport"] = LeanTransport(pyreqwest_client())
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name, transport in transports.items():
            client = httpx.AsyncClient(transport=transport, headers=HEADERS, timeout=TIMEOUT, trust_env=False)
            await stack.enter_async_context(client)  # closes the transport too
            found.append(Way(f"{name}: AsyncClient.get", through_client(client, url)))
            found.append(Way(f"{name}: Request to transport", through_transport(transport, url)))
        native = await stack.enter_async_context(pyreqwest_client())
        found.append(Way("the gateway's pool: no httpx objects", through_pool(pool, url)))
        yield [*found, Way("pyreqwest: no httpx objects", through_pyreqwest(native, url))]


async def load(way: Way, seconds: float, *, record: bool = True) -> None:
    """Keep `TASKS` requests in flight for a while."""
    latencies: list[float] = []
    started, cpu_started = time.perf_counter(), time.process_time()

    async def repeat() -> None:
        while (begun := time.perf_counter()) < started + seconds:
            if await way.send() != BODY:
                raise SystemExit(f"{way.name}: not the expected body")
            latencies.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(repeat())
    if record:
        way.rates.append(len(latencies) / (time.perf_counter() - started))
        way.cpu.append((time.process_time() - cpu_started) / len(latencies))
        way.latencies += latencies


def report(measured: list[Way]) -> None:
    """Print the table; rates and CPU are the median round's, and the ratio is to the first way."""
    reference = statistics.median(measured[0].rates)
    print(f"{'':48}{'req/s':>7}{'slowest..fastest':>18}{'ratio':>7}{'p50 ms':>8}{'p99 ms':>8}{'CPU us':>8}")
    for way in measured:
        centiles = statistics.quantiles(way.latencies, n=100)
        rate, spread = statistics.median(way.rates), f"{min(way.rates):.0f}..{max(way.rates):.0f}"
        print(
            f"{way.name:48}{rate:7.0f}{spread:>18}{rate / reference:7.2f}"
            f"{centiles[49] * 1e3:8.2f}{centiles[98] * 1e3:8.2f}{statistics.median(way.cpu) * 1e6:8.0f}"
        )


async def measure(url: str, rounds: int, seconds: float, only: str) -> None:
    """Let all ways take turns, several times, and report."""
    async with ways(url) as found:
        chosen = [way for way in found if only in way.name]
        for way in chosen:
            await load(way, WARM_UP, record=False)
        for _ in range(rounds):
            for way in chosen:
                await load(way, seconds)
        report(chosen)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + BODY)


async def _serve(port: int) -> None:
    async with await asyncio.start_server(_answer, "127.0.0.1", port) as server:
        await server.serve_forever()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the upstream does not listen")


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Run nginx, or else a small asyncio server, as a process of its own; give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as tmp:
        (Path(tmp) / "body.json").write_bytes(BODY)
        (Path(tmp) / "nginx.conf").write_text(NGINX_CONF.format(tmp=tmp, port=port))
        nginx = shutil.which("nginx")
        nginx_command = [nginx, "-p", tmp, "-c", f"{tmp}/nginx.conf"] if nginx else []
        command = nginx_command or [sys.executable, __file__, "--serve", str(port)]
        process = subprocess.Popen(command)  # noqa: S603 - our own arguments
        try:
            _wait_for(port)
            print(f"upstream: {'nginx' if nginx else 'asyncio'}, {len(BODY)} bytes; {TASKS} tasks; uvloop")
            yield f"http://127.0.0.1:{port}/body.json"
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="per way and round")
    parser.add_argument("--only", default="", help="only the ways whose name contains this")
    parser.add_argument("--serve", type=int, metavar="PORT", help="only be the upstream, where nginx is missing")
    options = parser.parse_args()
    if options.serve:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(options.serve))
    pin: Callable[[int, list[int]], None] = getattr(os, "sched_setaffinity", lambda *_: None)  # not on macOS
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    pin(0, cores[1:2] or cores)  # inherited by the upstream
    with upstream() as url:
        pin(0, cores[:1])  # inherited by the threads of pyreqwest
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measure(url, options.rounds, options.seconds, options.only))


if __name__ == "__main__":
    main()
