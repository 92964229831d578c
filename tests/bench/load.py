"""Keeps connections busy with one request: by wrk where there is one, else by the client in here."""

import asyncio
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.bench.processes import Process, connected, cores

CONNECTIONS = 16
_TOKEN = "Bearer " + "t" * 40


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests per second; the latencies are in milliseconds, the server's processor time per request in µs."""

    rate: float
    p50: float
    p99: float
    cpu: float = float("nan")


def head(size: int) -> bytes:
    """Return the head of a POST with a body of ``size`` bytes."""
    lines = [
        "POST /graphql HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: application/json",
        f"Authorization: {_TOKEN}",
        "Content-Type: application/json",
        f"Content-Length: {size}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def measure(server: Process, body: bytes, seconds: int, connections: int = CONNECTIONS) -> Measured:
    """Send the same request over all connections for a while; fail where an answer is not a 200."""
    wrk = shutil.which("wrk")
    cpu = server.cpu
    if wrk:
        measured = _wrk(wrk, server.url, body, seconds, connections)
    else:
        measured = asyncio.run(_measure(server.url, body, seconds, connections))
    return replace(measured, cpu=(server.cpu - cpu) / max(1, measured.rate * seconds) * 1e6)


def _wrk(wrk: str, url: str, body: bytes, seconds: int, connections: int) -> Measured:
    script = (
        'wrk.method = "POST"\n'
        f"wrk.body = {json.dumps(body.decode())}\n"
        'wrk.headers["Content-Type"] = "application/json"\n'
        'wrk.headers["Accept"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "{_TOKEN}"\n'
        "done = function(summary, latency, requests)\n"
        '  io.write(string.format("rate %f\\np50 %f\\np99 %f\\nerrors %d\\n", '
        "summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, "
        "summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))\n"
        "end\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            wrk,
            "-t1",
            "--timeout",
            "30s",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            file.name,
            f"{url}/graphql",
        ]
        output = subprocess.run(  # noqa: S603 - our own arguments
            command,
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=_pin,
        ).stdout
    found = dict(re.findall(r"^(rate|p50|p99|errors) ([\d.]+)$", output, re.MULTILINE))
    if found.get("errors") != "0":
        raise SystemExit(f"not every answer was a 200:\n{output}")
    return Measured(float(found["rate"]), float(found["p50"]), float(found["p99"]))


def _pin() -> None:
    if cores()[1]:
        os.sched_setaffinity(0, cores()[1])


async def _measure(url: str, body: bytes, seconds: int, connections: int) -> Measured:
    until = time.perf_counter() + seconds
    latencies = await drive(url, itertools.repeat(body), lambda: time.perf_counter() < until, connections)
    centiles = statistics.quantiles(latencies, n=100)
    return Measured(len(latencies) / seconds, centiles[49] * 1e3, centiles[98] * 1e3)


async def drive(
    url: str, bodies: Iterator[bytes], wanted: Callable[[], bool], connections: int = CONNECTIONS
) -> list[float]:
    """Send ``bodies`` over all connections as long as ``wanted``; return the latencies in seconds."""
    latencies: list[float] = []

    async def one_connection() -> None:
        async with connected(url) as (reader, writer):
            while wanted():
                body = next(bodies)
                started = time.perf_counter()
                writer.write(head(len(body)) + body)
                await read_answer(reader)
                latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return latencies


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of one answer; fail where it is not a 200."""
    answer_head = await reader.readuntil(b"\r\n\r\n")
    if not answer_head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"not a 200:\n{answer_head.decode()}")
    length = re.search(rb"(?i)content-length: (\d+)", answer_head)
    return await reader.readexactly(int(length[1])) if length else b""


def ask(url: str, body: bytes) -> bytes:
    """Send one request and return the body of its answer."""

    async def one() -> bytes:
        async with connected(url) as (reader, writer):
            writer.write(head(len(body)) + body)
            return await read_answer(reader)

    return asyncio.run(one())
