"""Builds the image without Docker: the Dockerfile's own steps, one after another, in an empty folder.

Every stage is built at the same place and then put aside, so that absolute paths in a virtual environment stay right
when a later stage copies it. What ``FROM python`` brings is a copy of the Python that runs this.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docker.recipe import ROOT, Instruction, Stage, build_context, stages

# What a path may begin with in the Dockerfile's commands.
_PLACES = ("/opt/", "/src")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """What was built: the file system of the last stage, and how it is started."""

    root: Path
    stage: Stage

    def here(self, text: str) -> str:
        """Return ``text`` with the image's absolute paths as they are on this machine."""
        for place in _PLACES:
            text = text.replace(place, f"{self.root}{place}")
        return text

    def command(self, instruction: str) -> list[str]:
        """Return the words of ``ENTRYPOINT``, ``CMD`` or the command of ``HEALTHCHECK``."""
        text = self.stage.last(instruction).text
        return [self.here(word) for word in Instruction(instruction, text[text.index("[") :]).words]

    def environment(self) -> dict[str, str]:
        """Return what the image sets."""
        given = {name: value.replace("$PATH", _SYSTEM_PATH) for name, value in self.stage.environment().items()}
        return {name: self.here(value) for name, value in given.items()} | _library_path(self.root)


def _library_path(place: Path) -> dict[str, str]:
    """Return what the copy of a Python needs that was built as a library: it looks for that where it was installed."""
    return {"LD_LIBRARY_PATH": f"{place}/usr/local/lib"} if (place / "usr/local/lib").exists() else {}


def build(scratch: Path) -> Image:
    """Build in ``scratch``; CalledProcessError where a step fails."""
    context = scratch / "context"
    for path in build_context():
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    place = scratch / "image"
    *earlier, last = stages()
    for stage in earlier:
        _build(scratch, context, Image(place, stage))
        place.rename(scratch / stage.name)
    image = Image(place, last)
    _build(scratch, context, image)
    return image


def _build(scratch: Path, context: Path, image: Image) -> None:
    image.root.mkdir()
    if image.stage.base.startswith("python:"):
        _bring_python(image.root)
    _Builder(scratch, context, image).run()


def _bring_python(place: Path) -> None:
    """Copy this machine's Python to where the image has it, unless it is the system's own, which is everywhere."""
    base = Path(sys.base_prefix)
    if base == Path("/usr"):
        return
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    left_out = shutil.ignore_patterns("test", "__pycache__", "site-packages", "idlelib", "*.a", "config-*")
    shutil.copytree(base / "lib", place / "usr/local/lib", symlinks=True, ignore=left_out)
    (place / "usr/local/bin").mkdir()
    shutil.copy2(base / "bin" / minor, place / "usr/local/bin/python")
    (place / f"usr/local/lib/{minor}/site-packages").mkdir(exist_ok=True)


class _Builder:
    """Runs the steps of one stage."""

    def __init__(self, scratch: Path, context: Path, image: Image) -> None:
        self._scratch = scratch
        self._context = context
        self._image = image
        self._folder = image.root

    def run(self) -> None:
        for step in self._image.stage.steps:
            match step.name:
                case "WORKDIR":
                    self._folder = self._at(step.text)
                    self._folder.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step)
                case "RUN":
                    self._run(step.text)

    def _at(self, path: str) -> Path:
        return self._image.root / path[1:] if path.startswith("/") else self._folder / path

    def _copy(self, step: Instruction) -> None:
        *sources, target = step.words
        stage = step.option("from")
        origin = self._scratch / stage if stage else self._context
        for source in sources:
            found = origin / source.lstrip("/")
            into = self._at(target)
            if found.is_dir():
                shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True)
                continue
            into = into / found.name if target.endswith("/") else into
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, into)

    def _run(self, command: str) -> None:
        python = self._image.root / "usr/local/bin/python"
        if command.startswith("python "):
            command = f"{python if python.exists() else sys.executable} {command.removeprefix('python ')}"
        quietly = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "2", "npm_config_loglevel": "error"}
        environment = {**os.environ, **quietly, **_library_path(self._image.root), "PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run(  # noqa: S602 - the Dockerfile's own commands, which are for a shell
            self._image.here(command), shell=True, cwd=self._folder, env=environment, check=True
        )
