# /// script
# requires-python = ">=3.11"
# ///
"""Pins the versions of everything that the image and a developer install: `uv run docker/lock.py`.

It writes docker/requirements.txt and docker/requirements-build.txt, with the hashes of each version's files, and the
constraints in pyproject.toml, which `uv sync` and `uv run` obey. A pin stays as long as it fits pyproject.toml;
`--upgrade` takes the newest versions. Nothing that is written names a package index.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
IMAGE = ROOT / "docker" / "requirements.txt"
BUILD = ROOT / "docker" / "requirements-build.txt"
OLDEST_PYTHON = "3.11"


def compile_pins(requirements: list[str], previous: str, *options: str) -> str:
    """Return the pins of the requirements and of all that they need, on every platform and Python."""
    command = ["uv", "pip", "compile", "-", "--quiet", "--universal", "--python-version", OLDEST_PYTHON]
    with tempfile.TemporaryDirectory() as folder:  # away from pyproject.toml, whose constraints are what is replaced
        pins = Path(folder, "pins.txt")
        pins.write_text(previous, encoding="utf-8")
        command += ["--no-header", "--no-annotate", "--output-file", str(pins), *options]
        subprocess.run(  # noqa: S603 - our own arguments
            command, input="\n".join(requirements), cwd=folder, encoding="utf-8", check=True, stdout=subprocess.DEVNULL
        )
        return pins.read_text(encoding="utf-8")


def without_hashes(pins: str) -> list[str]:
    """Return each pin as a constraint."""
    return re.findall(r"^([^\s#].*?)(?: \\)?$", pins, re.MULTILINE)


def image_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return what the image installs: the project with all its extras."""
    project = pyproject["project"]
    return [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]


def all_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return what a developer installs; a group names the project itself for its extras."""
    groups = chain.from_iterable(pyproject["dependency-groups"].values())
    others = [each for each in groups if not each.startswith(pyproject["project"]["name"])]
    return [*image_requirements(pyproject), *others]


def with_list(text: str, name: str, pins: list[str]) -> str:
    """Return pyproject.toml with another list of this name."""
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    start = text.index(f"\n{name} = [\n") + 1
    return text[:start] + f"{name} = [\n{lines}" + text[text.index("]\n", start) :]


def main(options: list[str]) -> None:
    """Write the three files. ``options`` are for `uv pip compile`."""
    text = PYPROJECT.read_text(encoding="utf-8")
    pyproject = tomllib.loads(text)
    previous = "\n".join(pyproject["tool"]["uv"]["constraint-dependencies"])
    pins = compile_pins(all_requirements(pyproject), previous, *options)
    # The image gets the very versions that the tests run with.
    image = compile_pins(image_requirements(pyproject), pins, "--generate-hashes")
    build = compile_pins(pyproject["build-system"]["requires"], BUILD.read_text("utf-8"), "--generate-hashes", *options)
    text = with_list(text, "constraint-dependencies", without_hashes(pins))
    PYPROJECT.write_text(with_list(text, "build-constraint-dependencies", without_hashes(build)), encoding="utf-8")
    IMAGE.write_text(image, encoding="utf-8")
    BUILD.write_text(build, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
