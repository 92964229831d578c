"""The source distribution and the wheel that `python -m build` makes can be published, and work once installed."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest

from gateway import __version__
from gateway.web.graphiql.assets import built_assets
from tests.requirements import GRAPHIQL_PAGE, missing, require_module

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = "gateway/web/graphiql/dist/manifest.json"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Return what a command prints; its failure is the test's."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)  # noqa: S603 - ours
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both of them."""
    require_module("build", "release")
    if built_assets() is None:
        missing(*GRAPHIQL_PAGE)
    folder = tmp_path_factory.mktemp("dist")
    # uv installs what a build needs in the time that pip takes to start.
    installer = ("--installer", "uv") if shutil.which("uv") else ()
    run(sys.executable, "-m", "build", *installer, "--outdir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return BytesParser().parsebytes(archive.read(f"gochat_gateway-{__version__}.dist-info/METADATA"))


def test_the_package_index_would_accept_both(distributions: Path) -> None:
    require_module("twine", "release")
    names = {path.name for path in distributions.iterdir()} - {".gitignore"}
    assert names == {f"gochat_gateway-{__version__}.tar.gz", f"gochat_gateway-{__version__}-py3-none-any.whl"}
    run(sys.executable, "-m", "twine", "check", "--strict", *(distributions / name for name in names))


def test_the_metadata_say_what_it_is(metadata: Message) -> None:
    assert "import name is `gateway`" in metadata["Summary"]
    assert metadata["License-Expression"] == "MIT"
    assert "graphql" in metadata["Keywords"]
    classifiers = metadata.get_all("Classifier", [])
    assert {each.partition(" ::")[0] for each in classifiers} >= {"Development Status", "Framework", "Topic", "Typing"}
    assert "Programming Language :: Python :: 3.14" in classifiers


def test_the_wheel_holds_the_package_and_graphiqls_page_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"gateway", f"gochat_gateway-{__version__}.dist-info"}
    assert {PAGE, "gateway/py.typed", "gateway/web/graphiql/fallback.json"} <= names
    assert not [name for name in names if re.search(r"node_modules|package.*\.json|hatch_hook|/src/|\.env", name)]


def test_the_source_distribution_holds_what_a_build_and_a_reader_need(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {PAGE, "README.md", "CHANGELOG.md", "LICENSE", "schema.graphql", "tests/conftest.py"} <= names
    assert not [name for name in names if re.search(r"node_modules|__pycache__|\.env$|^uv\.lock$", name)]


def test_the_wheel_works_where_nothing_else_is_installed(wheel: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv") or missing("uv", "pip install uv")
    environment = tmp_path / "environment"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    pins = ROOT / "docker" / "requirements.txt"
    run(uv, "pip", "install", "--quiet", "--python", environment, "--constraints", pins, wheel)
    program = environment / "bin" / "gochat-gateway"
    assert __version__ in run(program, "--version", cwd=tmp_path)
    schema = run(program, "schema", cwd=tmp_path)
    assert schema == (ROOT / "schema.graphql").read_text(encoding="utf-8")
    assert run(environment / "bin" / "python", "-c", "import gateway; print(gateway.__version__)", cwd=tmp_path)


def test_every_python_that_is_named_is_one_that_may_install_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: 3\.(\d+)", "\n".join(project["classifiers"]))
    assert f">=3.{min(map(int, named))}" == project["requires-python"]
