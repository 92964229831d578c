"""Composes the gateway's schema with another subgraph's, by the composers of three vendors."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.javascript import Project

SCHEMA = Path(__file__).parents[2] / "schema.graphql"
SECOND = Path(__file__).with_name("subgraph.graphql")


@dataclass(frozen=True, slots=True)
class Composition:
    """What a composer makes of the subgraphs. ``supergraph`` is None where there are errors."""

    supergraph: str | None
    errors: list[str]
    hints: list[str]


def compose(
    project: Project,
    *seconds: str,
    url: str = "http://gateway.example/graphql",
    second_url: str = "",
    sdl: str | None = None,
) -> list[dict[str, Composition]]:
    """Return what each composer, by its name, makes of the gateway at ``url`` with each of the other subgraphs.

    ``sdl`` is the gateway's where it is not the one that is committed.
    """
    gateway = {"name": "gochat", "url": url, "sdl": sdl or SCHEMA.read_text(encoding="utf-8")}
    graphs = [[gateway, {"name": "risk", "url": second_url, "sdl": second}] for second in seconds]
    outcomes = json.loads(project.run("compose.mjs", stdin=json.dumps(graphs)))
    return [{composer: Composition(**said) for composer, said in outcome.items()} for outcome in outcomes]
