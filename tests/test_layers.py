"""The import contracts in pyproject.toml hold, and each of them finds what it forbids."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", "node_modules", "dist")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """Check the package ``gateway`` in ``directory`` against the contracts."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(  # noqa: S603 - the test's own command
        [sys.executable, "-c", command], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_contract_holds() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.slow  # it copies the package, and reads all of it
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("schema/scalars.py", "import gateway.app", "Each layer imports only those below it"),
        ("schema/scalars.py", "import gateway.schema.types", "No modules import each other in a circle"),
        ("sandbox/fixtures/seed.py", "import gateway.errors", "The sandbox imports nothing of ours"),
        ("server/serve.py", "import gateway.sandbox", "Only the command line and the demo start the sandbox"),
        ("unplaced.py", "", "Each layer imports only those below it"),
    ],
)
def test_an_import_upward_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=IGNORED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "gateway" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    verdicts = [each for each in done.stdout.splitlines() if each.endswith("BROKEN")]
    assert any(each.startswith(broken) for each in verdicts), done.stdout


def test_the_sandbox_is_forbidden_every_module_there_is() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each["id"] == "sandbox-stands-alone")
    modules = {
        path.stem for path in (ROOT / "gateway").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    modules -= {"__init__", "__main__", "sandbox"}
    assert {each.removeprefix("gateway.") for each in contract["forbidden_modules"]} == modules
