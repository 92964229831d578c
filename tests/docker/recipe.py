"""Reads docker/: the Dockerfile's stages, what .dockerignore lets into the build, and the services of compose.yaml."""

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a Dockerfile: ``COPY``, and what follows it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments, of either form, without options such as ``--from=page``."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    def option(self, name: str) -> str | None:
        """Return the value of an option, None where it is not there."""
        prefix = f"--{name}="
        return next((word.removeprefix(prefix) for word in self.text.split() if word.startswith(prefix)), None)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one ``FROM`` to the next."""

    base: str
    name: str
    steps: list[Instruction] = field(default_factory=list)

    def last(self, instruction: str) -> Instruction:
        """Return the instruction that counts where there are several of its name."""
        return [step for step in self.steps if step.name == instruction][-1]

    def environment(self) -> dict[str, str]:
        """Return what ``ENV`` sets."""
        words = (word for step in self.steps if step.name == "ENV" for word in shlex.split(step.text))
        return dict(word.split("=", 1) for word in words)


def stages() -> list[Stage]:
    """Return the stages of the Dockerfile, in order."""
    found: list[Stage] = []
    for line in (DOCKER / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        instruction = Instruction(*line.split(" ", 1))
        if instruction.name == "FROM":
            base, *alias = instruction.text.split(" AS ")
            found.append(Stage(base, alias[0] if alias else "final"))
        else:
            found[-1].steps.append(instruction)
    return found


def build_context() -> Iterator[str]:
    """Give the paths of the repository's files that .dockerignore lets through; the last pattern that fits counts."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for folder, folders, files in os.walk(ROOT):
        base = Path(folder).relative_to(ROOT)
        # A folder of which nothing can be let in is not looked into: .venv alone has more files than all the rest.
        folders[:] = [each for each in folders if _may_hold(str(base / each), patterns)]
        yield from (path for each in files if _is_let_in(path := str(base / each), patterns))


def _is_let_in(path: str, patterns: list[str]) -> bool:
    let_in = True
    for pattern in patterns:
        if _fits(path, pattern.removeprefix("!")):
            let_in = pattern.startswith("!")
    return let_in


def _fits(path: str, pattern: str) -> bool:
    parents = [path, *map(str, Path(path).parents)]
    if pattern.startswith("**/"):
        return any(fnmatch(Path(each).name, pattern.removeprefix("**/")) for each in parents)
    return any(fnmatch(each, pattern) for each in parents[:-1])


def _may_hold(folder: str, patterns: list[str]) -> bool:
    return _is_let_in(folder, patterns) or any(each.startswith(f"!{folder}/") for each in patterns)


def compose() -> dict[str, Any]:
    """Return compose.yaml with its anchors resolved."""
    document: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    return document
