"""The npm projects under ``tests`` install from any registry, and only what their lock files say."""

import json
from pathlib import Path

import pytest

PROJECTS = sorted(each.parent for each in Path(__file__).parent.glob("*/package.json"))
BENCHMARKS_PEER = Path(__file__).parent / "bench" / "peer"


@pytest.mark.parametrize("project", [*PROJECTS, BENCHMARKS_PEER], ids=lambda project: project.name)
def test_a_lock_file_holds_a_hash_of_each_package_and_no_address(project: Path) -> None:
    """It fits package.json, too: `npm ci` refuses it otherwise."""
    manifest = json.loads((project / "package.json").read_text())
    packages = json.loads((project / "package-lock.json").read_text())["packages"]
    root = packages.pop("")
    assert root["dependencies"] == manifest["dependencies"]
    assert [name for name, each in packages.items() if "resolved" in each or "integrity" not in each] == []


def test_the_projects_are_those_that_are_installed_before_the_tests() -> None:
    script = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    assert f"for project in {' '.join(f'tests/{each.name}' for each in PROJECTS)}; do" in script
