"""Everything that runs during a soak: the sandbox, Redis, two gateways and nginx, each to be broken and mended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.sandbox import PASSWORD, Accounts, BackgroundServer, Fault, Sandbox, sandbox_config
from tests.harness import NO_CERTIFICATES
from tests.programs import free_port, until
from tests.running.proxy import nginx
from tests.upstream.redis_server import RedisServer

CALLERS = tuple(f"caller-{number}@sandbox.example" for number in range(1, 6))
_SETTINGS = {
    "UPSTREAM_IDENTITY": "passthrough",
    "CACHE_SECRET": "of-the-soak-and-nobody-else",
    "CACHE_TTL_THREAD": "1",
    "CACHE_TTL_MESSAGES": "1",
    "CACHE_TTL_CUSTOMER": "2",
    "CACHE_STALE_IF_ERROR": "5",
    # All is quicker than in production, so that a minute has room for it.
    "UPSTREAM_READ_TIMEOUT": "1",
    "OPERATION_TIMEOUT": "3",
    "BREAKER_WINDOW": "3",
    "BREAKER_PAUSE": "1",
    "SHUTDOWN_DELAY": "1.5",
    "LOG_LEVEL": "info",
}


@dataclass(slots=True)
class GatewayProcess:
    """A gateway on a port of its own, whose log is a file."""

    port: int
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, and return when it is ready."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "gateway", "serve", "--port", str(self.port)]
            self.process = subprocess.Popen(command, env=self.environment, stderr=log)  # noqa: S603 - our own
        until(self.is_ready, "a gateway is ready")

    def is_ready(self) -> bool:
        """Return whether it says so."""
        try:
            url = f"http://127.0.0.1:{self.port}/ready"
            return httpx.get(url, trust_env=False, verify=NO_CERTIFICATES, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, how: signal.Signals) -> int:
        """Send a signal, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(60)
        self.process = None
        return status

    def memory(self) -> float | None:
        """Return the resident memory in MiB, None while it is down."""
        if self.process is None or self.process.poll() is not None:
            return None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return None


@dataclass(slots=True)
class World:
    """What runs. ``url`` is nginx's."""

    sandbox: Sandbox
    redis: RedisServer
    gateways: list[GatewayProcess]
    url: str = ""
    exits: list[int] = field(default_factory=list)
    """The exit statuses of the gateways that were told to stop."""

    def break_upstream(self, *faults: Fault) -> None:
        """Put these faults in force, and no others."""
        self.sandbox.faults.clear()
        self.sandbox.faults.add(*faults)

    def tracebacks(self) -> list[str]:
        """Return the lines of the gateways' logs that hold one."""
        lines = [line for each in self.gateways for line in each.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if "Traceback" in line or '"level":"error"' in line.replace(" ", "")]


@contextmanager
def running(folder: Path) -> Iterator[World]:
    """Start everything, and stop it."""
    # Nobody is locked out: a caller with a wrong password is part of the load.
    accounts = Accounts(dict.fromkeys(CALLERS, PASSWORD), lockout_after=1_000_000_000)
    sandbox = Sandbox(accounts=accounts, echo_caller=True)
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        redis = stack.enter_context(RedisServer())
        settings = {**_SETTINGS, "UPSTREAM_URL": upstream, "CACHE_URL": redis.url}
        environment = {**os.environ, **{f"GATEWAY_{name}": value for name, value in settings.items()}}
        gateways = [GatewayProcess(free_port(), environment, folder / f"gateway-{number}.log") for number in (1, 2)]
        world = World(sandbox, redis, gateways)
        stack.callback(_stop, world)
        for gateway in gateways:
            gateway.start()
        world.url = stack.enter_context(nginx([each.port for each in gateways], folder))
        yield world


def _stop(world: World) -> None:
    world.sandbox.faults.clear()
    for gateway in world.gateways:
        if gateway.process is not None:
            world.exits.append(gateway.end(signal.SIGTERM))
