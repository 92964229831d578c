"""Starts the services of compose.yaml as processes of this machine, with the very files that compose.yaml mounts."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.sandbox import PASSWORD, USERNAME
from tests.docker import locked_down
from tests.docker.image import Image
from tests.docker.recipe import DOCKER, compose
from tests.javascript import Project
from tests.programs import free_port, is_open, until
from tests.running.proxy import nginx

GATEWAYS = ("gateway-1", "gateway-2")
SECRET = secrets.token_hex(32)
"""What whoever starts the services chooses."""


@dataclass(slots=True)
class Topology:
    """The running services. ``ports`` are this machine's, by the name of the service."""

    image: Image
    ports: dict[str, int]
    gateways: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    proxy: str = ""

    def url(self, service: str) -> str:
        """Return where a service listens."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a gateway: the image's, then compose.yaml's with this machine's addresses."""
        given = {**self.image.environment(), **compose()["services"][service]["environment"]}
        for name, service_name in (("sandbox:9000", "sandbox"), ("redis:6379", "redis")):
            given = {key: value.replace(name, f"127.0.0.1:{self.ports[service_name]}") for key, value in given.items()}
        ours = {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.ports[service]), "GATEWAY_SHUTDOWN_DELAY": "2"}
        given["GATEWAY_CACHE_SECRET"] = SECRET
        metrics = {"GATEWAY_METRICS_HOST": "127.0.0.1", "GATEWAY_METRICS_PORT": str(self.ports[f"{service}:9100"])}
        return {**given, **ours, **metrics, "GATEWAY_LOG_LEVEL": "warning"}

    def start(self, service: str) -> None:
        """Start a gateway, and return when its health check says so."""
        command = [*self.image.command("ENTRYPOINT"), *self.image.command("CMD")]
        user = self.image.stage.last("USER").text
        self.gateways[service] = locked_down.start(command, self.image.root, user, self.environment(service))
        until(lambda: self.is_healthy(service), f"{service} is healthy")

    def is_healthy(self, service: str) -> bool:
        """Run the image's own health check."""
        check = subprocess.run(  # noqa: S603 - the image's own command
            self.image.command("HEALTHCHECK"), env=self.environment(service), check=False
        )
        return check.returncode == 0

    def stop(self, service: str) -> int:
        """Tell a gateway to stop, and return its exit status."""
        return locked_down.terminate(self.gateways.pop(service))


@contextmanager
def running(image: Image, scratch: Path) -> Iterator[Topology]:
    """Start everything but what is not installed, and stop it."""
    with ExitStack() as stack:
        targets = (f"{service}:9100" for service in GATEWAYS)
        topology = Topology(image, {name: free_port() for name in (*GATEWAYS, *targets, "sandbox", "redis", "router")})
        _start_redis(stack, topology)
        _start_sandbox(stack, topology)
        for service in GATEWAYS:
            stack.callback(_stop, topology, service)
            topology.start(service)
        folder = scratch / "proxy"
        folder.mkdir()
        topology.proxy = stack.enter_context(nginx([topology.ports[each] for each in GATEWAYS], folder))
        yield topology


@contextmanager
def router(project: Project, topology: Topology, scratch: Path) -> Iterator[None]:
    """Run the router with docker/router, before the proxy."""
    folder = project.path / "node_modules" / ".gochat-gateway-router"  # where its configuration finds what it imports
    folder.mkdir(exist_ok=True)
    (folder / "gateway.config.mjs").write_bytes((DOCKER / "router" / "gateway.config.mjs").read_bytes())
    supergraph = (DOCKER / "router" / "supergraph.graphql").read_text(encoding="utf-8")
    assert "http://proxy:8080/graphql" in supergraph
    placed = scratch / "supergraph.graphql"
    placed.write_text(supergraph.replace("http://proxy:8080", topology.proxy), encoding="utf-8")
    command = [*compose()["services"]["router"]["command"][1:]]
    swaps = {"gateway.config.mjs": str(folder / "gateway.config.mjs"), "0.0.0.0": "127.0.0.1"}  # noqa: S104 - not here
    options = [swaps.get(word, word).replace("4000", str(topology.ports["router"])) for word in command]
    program = "node_modules/.bin/hive-gateway"
    with project.running(program, "supergraph", str(placed), *options, until="Listening on"):
        yield


def ask(url: str, document: str, *, headers: dict[str, str] | None = None) -> httpx.Response:
    """Ask as the sandbox's user."""
    return httpx.post(
        f"{url}/graphql",
        json={"query": document},
        auth=(USERNAME, PASSWORD),
        headers=headers,
        timeout=30,
        trust_env=False,
    )


def _stop(topology: Topology, service: str) -> None:
    if service in topology.gateways:
        topology.stop(service)


def _start_redis(stack: ExitStack, topology: Topology) -> None:
    command = [str(word) for word in compose()["services"]["redis"]["command"]]
    address = ["--port", str(topology.ports["redis"]), "--bind", "127.0.0.1"]
    _start(stack, topology, "redis", [*command, *address], {**os.environ})


def _start_sandbox(stack: ExitStack, topology: Topology) -> None:
    service = compose()["services"]["sandbox"]
    command = [topology.image.here(word) for word in (*service["entrypoint"], *service["command"])]
    command[command.index("0.0.0.0")] = "127.0.0.1"  # noqa: S104 - not on this machine
    command[command.index("9000")] = str(topology.ports["sandbox"])
    _start(stack, topology, "sandbox", command, topology.image.environment())


def _start(stack: ExitStack, topology: Topology, service: str, command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(  # noqa: S603 - compose.yaml's own command
        command, env=environment, stdout=subprocess.DEVNULL, cwd=topology.image.root
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    until(lambda: is_open(topology.url(service)) or process.poll() is not None, f"{service} listens")
    assert process.poll() is None, f"{service} ended with {process.returncode}"
