"""What runs in a storm: a sandbox whose writes are recorded, Redis, and a gateway with two workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Sandbox, Seed, sandbox_config
from tests.programs import free_port
from tests.storm.recorder import Recorder
from tests.upstream.redis_server import RedisServer

_SETTINGS = {
    "UPSTREAM_IDENTITY": "service",
    "UPSTREAM_USERNAME": USERNAME,
    "UPSTREAM_PASSWORD": PASSWORD,
    "INBOUND_AUTH": "none",
    "MUTATIONS": "true",
    "WORKERS": "2",
    "CACHE_SECRET": "of-the-storm-and-nobody-else",
    "CACHE_TIMEOUT": "2",
    "UPSTREAM_READ_TIMEOUT": "0.7",
    "OPERATION_TIMEOUT": "20",
    "SHUTDOWN_DELAY": "0",
    # Faults are all that there is here, and an open circuit would send nothing.
    "BREAKER_MIN_VOLUME": "1000000",
    "LOG_LEVEL": "info",
}


@dataclass(slots=True)
class World:
    """What runs. Each write has a thread of its own, which shows at the end what became of it."""

    sandbox: Sandbox
    recorder: Recorder
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def effects(self, mark: int) -> int:
        """Return how often a write took effect, by the messages and the tags of its thread."""
        thread = msgspec.json.decode(self.sandbox.store.thread(f"storm-{mark}", USERNAME))
        return int(thread["message_count"]) + int(thread["tags"].count(f"mark-{mark}"))

    def started(self) -> int:
        """Return how many workers have started so far."""
        return self.log.read_text(encoding="utf-8").count("Application startup complete")

    def wait_for_workers(self, number: int) -> None:
        """Return once so many workers have started; on a busy machine each may take half a minute."""
        deadline = time.monotonic() + 180
        while self.started() < number:
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            time.sleep(0.1)

    def stop_a_worker(self) -> None:
        """Send SIGTERM to a worker; its supervisor starts another."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(workers) > 1:
            os.kill(workers[0], signal.SIGTERM)

    def tracebacks(self) -> list[str]:
        """Return the lines of the log that are errors, but for those about the workers that were stopped."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if '"level":"error"' in line and "died (exit status 0)" not in line]


@contextmanager
def running(folder: Path, writes: int) -> Iterator[World]:
    """Start everything, with a thread for each of the ``writes``, and stop it."""
    sandbox = Sandbox(Seed({f"storm-{mark}": _thread(mark) for mark in range(writes)}, {}, {}))
    recorder = Recorder(sandbox.app)
    port, log = free_port(), folder / "gateway.log"
    with BackgroundServer(sandbox_config(recorder)) as upstream, RedisServer() as redis, log.open("ab") as stderr:
        settings = {**_SETTINGS, "UPSTREAM_URL": upstream.url, "CACHE_URL": redis.url, "PORT": str(port)}
        environment = {**os.environ, **{f"GATEWAY_{name}": value for name, value in settings.items()}}
        if sys.dont_write_bytecode:  # workers start three times as fast with bytecode
            environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        command = [sys.executable, "-m", "gateway", "serve"]
        process = subprocess.Popen(command, env=environment, stderr=stderr)  # noqa: S603 - our own
        try:
            world = World(sandbox, recorder, f"http://127.0.0.1:{port}", process, log)
            world.wait_for_workers(2)
            yield world
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _thread(mark: int) -> dict[str, object]:
    return {"id": f"storm-{mark}", "tags": [], "message_count": 0, "external_message_ids": [], "last_message": None}
