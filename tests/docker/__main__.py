"""Proves docker/ on a machine without Docker: `uv run python -m tests.docker`; status 1 where something does not hold.

It builds the image by the Dockerfile's own steps in an empty folder, and starts the services of compose.yaml from it.
"""

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml

from gateway.sandbox import PASSWORD, USERNAME
from tests.docker import locked_down
from tests.docker.image import Image, build
from tests.docker.recipe import DOCKER
from tests.docker.topology import GATEWAYS, Topology, ask, router, running
from tests.javascript import Project

THREAD = '{ thread(id: "th-1") { id } }'
ANSWER = {"data": {"thread": {"id": "th-1"}}}
_WHO = "import os; print(os.getpid(), os.getuid(), [path for path in ('/', '{root}') if os.access(path, os.W_OK)])"


def prove(scratch: Path) -> Iterator[str]:
    """Give a line for each thing that holds; AssertionError for the first that does not."""
    started = time.monotonic()
    image = build(scratch)
    yield f"the image's steps run in an empty folder ({time.monotonic() - started:.0f} s)"
    (manifest,) = image.root.glob("opt/gateway/lib/python3.*/site-packages/gateway/web/graphiql/dist/manifest.json")
    assert json.loads(manifest.read_bytes())
    yield "the image holds GraphiQL's page"
    yield _locked_down(image)
    with running(image, scratch) as topology:
        yield from _served(topology)
        yield from _routed(topology, scratch)
        yield from _stopped(topology)


def _locked_down(image: Image) -> str:
    if not locked_down.is_possible():
        return "NOT PROVEN here, for want of root or namespaces: process 1, without root, on a read-only file system"
    user = image.stage.last("USER").text
    python = str(image.root / "opt/gateway/bin/python")
    command = [python, "-c", _WHO.replace("{root}", str(image.root))]
    process = locked_down.start(command, image.root, user, image.environment())
    said = process.communicate(timeout=60)[0]
    assert said == f"1 {user.split(':')[0]} []\n", said
    return f"a program of the image is process 1, of user {user}, and can write neither to / nor to the image"


def _served(topology: Topology) -> Iterator[str]:
    for service in GATEWAYS:
        assert httpx.get(f"{topology.url(service)}/ready", trust_env=False).status_code == 200
    yield "two gateways are healthy by the image's own check, and ready"
    assert ask(topology.proxy, THREAD).json() == ANSWER
    assert httpx.get(f"{topology.proxy}/ready", trust_env=False).status_code == 404
    yield "nginx hands on what is for the gateways, and keeps /health, /ready and /metrics to itself"
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(THREAD.encode()).hexdigest()}}
    first, second = (topology.url(service) for service in GATEWAYS)
    with httpx.Client(auth=(USERNAME, PASSWORD), timeout=30, trust_env=False) as http:
        assert http.post(f"{first}/graphql", json={"query": THREAD, "extensions": persisted}).json() == ANSWER
        assert http.post(f"{second}/graphql", json={"extensions": persisted}).json() == ANSWER
    yield "what one gateway has learned the other knows through Redis"
    (scraped,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    for target in scraped["static_configs"][0]["targets"]:
        text = httpx.get(f"{topology.url(target)}/metrics", trust_env=False).text
        assert 'gochat_gateway_operations_total{code="OK",type="query"}' in text, target
    yield "each of Prometheus' targets has metrics"


def _routed(topology: Topology, scratch: Path) -> Iterator[str]:
    node = shutil.which("node")
    folder = Path(__file__).parents[1] / "federation"
    if node is None or not (folder / "node_modules").is_dir():
        yield "NOT PROVEN here, for want of tests/federation's npm packages: the router"
        return
    with router(Project(folder, node), topology, scratch):
        assert ask(topology.url("router"), THREAD).json() == ANSWER
    yield "the federation router reaches the gateways with docker/router"


def _stopped(topology: Topology) -> Iterator[str]:
    for service in GATEWAYS:
        assert topology.stop(service) == 0, service
        assert not topology.is_healthy(service)
        assert ask(topology.proxy, THREAD).json() == ANSWER
        topology.start(service)
        assert ask(topology.proxy, THREAD).json() == ANSWER
    yield "each gateway stops with status 0 when told to, and the other answers meanwhile"


def main() -> int:
    """Print the lines; return the exit status."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gochat-gateway-image-") as scratch:
        Path(scratch).chmod(0o755)  # for the image's user
        try:
            for line in prove(Path(scratch)):
                print(f"ok    {line}", flush=True)  # noqa: T201 - what it is for
        except AssertionError as exc:
            print(f"FAIL  {exc}", file=sys.stderr)  # noqa: T201 - as above
            raise
    print(f"docker/ holds ({time.monotonic() - started:.0f} s)")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
