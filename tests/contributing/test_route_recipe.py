"""The recipe for a REST route works: it is applied to a copy of the package, and no step of it can be left out."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.page import ROOT, Page

pytestmark = pytest.mark.slow

SECTION = Page("docs/CONTRIBUTING.md").section("Add a REST route")
NEEDED = ["gateway", "tests", "docs", "docker", "README.md", "CHANGELOG.md", "pyproject.toml", "schema.graphql"]
LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", ".*")  # bytecode is copied: to compile takes longer
NOTICED_BY = {
    "gateway/upstream/contract/reads.py": "tests/test_contract.py",
    "gateway/schema/types.py": "tests/test_schema.py::test_every_read_route_has_a_field_that_follows_it",
    "gateway/sandbox/rest_api/endpoints.py": (
        "tests/sandbox/test_sandbox_contract.py::test_the_sandbox_lists_the_routes_of_the_contract_and_no_others"
    ),
    "docs/querying.md": (
        "tests/docs/test_reference.py::test_the_querying_page_says_what_each_field_costs_that_makes_a_call"
    ),
    "exports": "tests/test_schema.py::test_the_exported_schema_is_up_to_date",
}
"""By step, a test that fails without it. Only that of the exports reads them."""
ALSO_TRIED = [
    "tests/test_each_route.py",
    "tests/upstream/test_fault_matrix.py",
    "tests/execution/test_plan_equals_reference.py",
]
OTHERS = ("tls", "login", "connection", "seeded_bug", "-thread", "-messages", "-customer")
RELEVANT = " and ".join(f"not {each}" for each in OTHERS)
FAILED, CANNOT_BE_IMPORTED = 1, 4  # exit codes of pytest
EXPORTS = {"schema.graphql": ["-m", "gateway", "schema"], "": ["-m", "tests.reference"]}
EXPORTED = ["schema.graphql", "docs/reference"]


@dataclass(frozen=True)
class Change:
    """A block ``diff`` of the recipe: the lines it expects in a file, and the lines that replace them."""

    file: str
    before: str
    after: str

    @classmethod
    def of(cls, diff: str) -> "Change":
        head, *lines = diff.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        return cls(head.removeprefix("--- "), before, after)

    def apply(self, copy: Path) -> None:
        path = copy / self.file
        text = path.read_text(encoding="utf-8")
        assert text.count(self.before) == 1, f"{self.file} has not exactly once:\n{self.before}"
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


CHANGES = [Change.of(block.text) for block in SECTION.blocks if block.language == "diff"]
STEPS = [*dict.fromkeys(change.file for change in CHANGES), "exports"]


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "", "PROPERTY_CASES": "40"}
    return subprocess.run(  # noqa: S603 - our own tests and commands
        [sys.executable, *arguments], cwd=copy, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )


def run_tests(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(copy, "-m", "pytest", "-q", "-x", "-n0", "-rA", "-p", "no:cacheprovider", *arguments)


def copy_to(folder: Path, names: Collection[str]) -> None:
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=LEFT_OUT, dirs_exist_ok=True)
        else:
            shutil.copy2(source, folder / name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package. It is one for all steps, so that it keeps its bytecode."""
    folder = tmp_path_factory.mktemp("copy")
    copy_to(folder, NEEDED)
    return folder


@pytest.fixture
def apply(copy: Path) -> Callable[[Collection[str]], Path]:
    """Apply steps of the recipe to the copy as it was before them."""

    def applied(steps: Collection[str]) -> Path:
        copy_to(copy, [change.file for change in CHANGES])
        copy_to(copy, EXPORTED)
        for change in CHANGES:
            if change.file in steps:
                change.apply(copy)
        if "exports" in steps:
            for file, arguments in EXPORTS.items():
                written = python(copy, *arguments)
                if file and written.returncode == 0:
                    (copy / file).write_text(written.stdout, encoding="utf-8")
        return copy

    return applied


def test_the_recipe_changes_three_files_of_the_package() -> None:
    assert len([step for step in STEPS if step.startswith("gateway/")]) == 3


def test_the_recipe_works(apply: Callable[[Collection[str]], Path]) -> None:
    noticing = [each.partition("::")[0] for each in NOTICED_BY.values()]
    outcome = run_tests(apply(STEPS), *dict.fromkeys(noticing), *ALSO_TRIED, "-k", RELEVANT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    for tried in ("test_a_fault_of_a_get[503-notes]", "test_its_call_ends_with_the_operation[notes]"):
        assert re.search(rf"PASSED .*{re.escape(tried)}", outcome.stdout)


@pytest.mark.parametrize("step", NOTICED_BY)
def test_no_step_can_be_left_out(apply: Callable[[Collection[str]], Path], step: str) -> None:
    outcome = run_tests(apply([each for each in STEPS if each not in {step, "exports"}]), NOTICED_BY[step])
    assert outcome.returncode in {FAILED, CANNOT_BE_IMPORTED}, outcome.stdout + outcome.stderr
    assert re.search("FAILED|ImportError: cannot import name 'NOTES'", outcome.stdout + outcome.stderr)


def test_each_step_is_tried_without() -> None:
    assert list(NOTICED_BY) == STEPS
