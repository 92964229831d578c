"""Everything that is imported is declared in pyproject.toml, not only installed by another package."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# `compression` is in the standard library from Python 3.14; `shop` stands beside the examples that import it.
OURS = {*sys.stdlib_module_names, "compression", "gateway", "tests", "shop"}

EXAMPLES = ROOT / "tests" / "clients" / "python"
"""Programs of Python callers, which run in environments of their own."""


def imported(package: str) -> Iterator[tuple[str, str]]:
    """Yield the top-level name of each third-party import, and the file that has it."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if "node_modules" in path.parts or EXAMPLES in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            yield from (
                (top, str(path.relative_to(ROOT))) for name in names if (top := name.partition(".")[0]) not in OURS
            )


def declared(*, for_tests: bool) -> set[str]:
    """Return the distributions that the package, its extras or its build asks for; for tests, also the groups."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    requirements = [*project["dependencies"], *pyproject["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    if for_tests:
        requirements += [each for group in pyproject["dependency-groups"].values() for each in group]
    return {canonicalize_name(Requirement(each).name) for each in requirements}


@pytest.mark.slow  # it reads all files
@pytest.mark.parametrize("package", ["gateway", "tests"])
def test_every_import_is_declared(package: str) -> None:
    installed = packages_distributions()
    known = declared(for_tests=package == "tests")
    undeclared = {
        (top, path)
        for top, path in imported(package)
        if known.isdisjoint(map(canonicalize_name, installed.get(top, [top])))
    }
    assert not sorted(undeclared)
