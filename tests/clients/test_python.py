"""Python callers: the programs of docs/python.md, with httpx, gql and ariadne-codegen, ask a running gateway."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config
from gateway.schema import build_schema
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.clients.tools import PYPI
from tests.harness import settings
from tests.requirements import missing

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).with_name("python")
# Each runs in an environment of its own: ariadne-codegen needs another graphql-core than the gateway.
ARIADNE = f"ariadne-codegen=={PYPI['ariadne-codegen']}"
CLIENTS = {
    "with_httpx.py": f"httpx=={PYPI['httpx']}",
    "with_gql.py": f"gql[httpx]=={PYPI['gql']}",
    "with_ariadne.py": ARIADNE,
}
_TIMEOUT_SECONDS = 300

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a command with a package, in a copy of the programs beside a gateway, and returns what it prints."""
    uv = shutil.which("uv") or missing("uv", "pip install uv")
    folder = tmp_path_factory.mktemp("clients") / "python"
    shutil.copytree(PROGRAMS, folder)
    (folder / "schema.graphql").write_text(build_schema().as_client_str(), encoding="utf-8")
    sandbox = Sandbox()
    sandbox.faults.add(Fault("thread", "th-101", status=500))
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url))
        batching = create_app(settings(upstream_url=upstream.url, max_batch=2))
        with BackgroundServer(gateway_config(app)) as gateway, BackgroundServer(gateway_config(batching)) as other:
            ours = {
                "GOCHAT_URL": f"{gateway.url}/graphql",
                "GOCHAT_BATCHING_URL": f"{other.url}/graphql",
                "GOCHAT_AUTHORIZATION": AUTHORIZATION,
            }
            environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | ours

            def run(package: str, *command: str) -> str:
                done = subprocess.run(  # noqa: S603 - our own programs
                    [uv, "run", "--isolated", "--no-project", "--quiet", "--with", package, *command],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    encoding="utf-8",
                    timeout=_TIMEOUT_SECONDS,
                    check=False,
                )
                assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
                return done.stdout

            run(ARIADNE, "ariadne-codegen", "--config", "ariadne.toml")
            yield run


@pytest.mark.parametrize(("program", "package"), CLIENTS.items())
def test_a_program_gets_a_thread(run: Run, program: str, package: str) -> None:
    assert "Open" in run(package, "python", program, "th-1")


@pytest.mark.parametrize(("program", "package"), CLIENTS.items())
def test_a_program_sees_the_code_of_an_error(run: Run, program: str, package: str) -> None:
    assert "UPSTREAM_ERROR" in run(package, "python", program, "th-101")


def test_gql_shows_which_setting_its_batches_need_and_they_work_with_it(run: Run) -> None:
    refused, answered = run(CLIENTS["with_gql.py"], "python", "gql_batches.py").splitlines()
    assert "set GATEWAY_MAX_BATCH above 1" in refused
    assert "'status': 'Open'" in answered
    assert "'status': 'Waiting'" in answered
