"""The versions that developers and the image install are pinned, and the two lists of pins agree."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STALE = "stale: uv run docker/lock.py"


def pins(lines: Iterable[str]) -> dict[str, list[Requirement]]:
    """Return the pins by name; a package may have one for each of several environments."""
    found: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, lines):
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


CONSTRAINTS = pins(PYPROJECT["tool"]["uv"]["constraint-dependencies"])
BUILD_CONSTRAINTS = pins(PYPROJECT["tool"]["uv"]["build-constraint-dependencies"])


def requirements_file(name: str) -> dict[str, list[Requirement]]:
    text = (ROOT / "docker" / name).read_text(encoding="utf-8")
    return pins(re.findall(r"^([^\s#].*?) \\$", text, re.MULTILINE))


def declared() -> Iterator[Requirement]:
    """Yield everything that pyproject.toml asks for by name."""
    project, groups = PYPROJECT["project"], PYPROJECT["dependency-groups"]
    for texts in (project["dependencies"], *project["optional-dependencies"].values(), *groups.values()):
        yield from map(Requirement, texts)


def installed(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the versions of what is installed here of the requirements, and of all that those require."""
    versions: dict[str, str] = {}
    unchecked = [(each, extra) for each in requirements for extra in ("", *each.extras)]
    seen = set()
    while unchecked:
        requirement, extra = unchecked.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # of a group that is not installed, or another platform's
        versions[name] = found.version
        needed = [each for each in map(Requirement, found.requires or ()) if _is_needed(each, extra)]
        unchecked += [(each, inner) for each in needed for inner in ("", *each.extras)]
    return versions


def _is_needed(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def test_every_version_that_is_installed_is_the_one_that_is_pinned() -> None:
    versions = installed(declared())
    del versions[canonicalize_name(PYPROJECT["project"]["name"])]
    pinned = {
        name: [str(each.specifier) for each in CONSTRAINTS.get(name, []) if not each.marker or each.marker.evaluate()]
        for name in versions
    }
    assert pinned == {name: [f"=={version}"] for name, version in versions.items()}, STALE
    assert len(versions) > 40, "the environment was found"


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    for requirement in declared():
        if requirement.name == PYPROJECT["project"]["name"]:
            continue
        found = CONSTRAINTS.get(canonicalize_name(requirement.name), [])
        versions = [each.version for pin in found for each in pin.specifier]
        assert versions, f"{requirement}: {STALE}"
        assert all(requirement.specifier.contains(each) for each in versions), f"{requirement}: {STALE}"


def test_the_image_gets_the_versions_that_the_tests_run_with() -> None:
    for name, requirements in requirements_file("requirements.txt").items():
        versions = {str(each.specifier) for each in CONSTRAINTS.get(name, [])}
        assert {str(each.specifier) for each in requirements} <= versions, f"{name}: {STALE}"


def test_the_build_constraints_are_those_of_the_image() -> None:
    assert {name: list(map(str, each)) for name, each in requirements_file("requirements-build.txt").items()} == {
        name: list(map(str, each)) for name, each in BUILD_CONSTRAINTS.items()
    }, STALE


def test_no_pin_names_a_place() -> None:
    assert "://" not in str(PYPROJECT["tool"]["uv"])
