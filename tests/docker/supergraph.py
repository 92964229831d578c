"""The router's supergraph, of the gateway alone: `uv run python -m tests.docker.supergraph` writes it anew."""

import json

from tests.docker.recipe import DOCKER
from tests.federation.composition import SCHEMA
from tests.javascript import Project, project

SUPERGRAPH = DOCKER / "router" / "supergraph.graphql"
ADDRESS = "http://proxy:8080/graphql"
"""Where the router of compose.yaml finds the gateways."""


def composed(federation: Project) -> str:
    """Return the supergraph that belongs to schema.graphql."""
    graph = [{"name": "gochat", "url": ADDRESS, "sdl": SCHEMA.read_text(encoding="utf-8")}]
    (outcome,) = json.loads(federation.run("compose.mjs", stdin=json.dumps([graph])))
    supergraph: str = outcome["guild"]["supergraph"]
    return supergraph.rstrip() + "\n"


if __name__ == "__main__":
    SUPERGRAPH.write_text(composed(project("federation")), encoding="utf-8")
