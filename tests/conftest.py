"""Fixtures for all tests: a gateway in front of a sandbox, both on real sockets, and the command line's programs."""

import gc
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from gateway.app import create_app
from gateway.clock import REAL_TIME, Timing
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.schema import FederatedSchema, build_schema
from gateway.server.config import gateway_config
from gateway.server.listeners import bind
from gateway.settings import PREFIX
from tests.forkserver import ForkServer
from tests.harness import NO_CERTIFICATES, Gateway, StartGateway, settings, with_account
from tests.http1.raw_server import Authority
from tests.programs import Program, Start, environment
from tests.selection import PROPERTY_CASES, Selection

# Property tests find wrong results. On a busy machine everything is slow, and that is no finding. Where `CI` is set,
# every run tries the same inputs, so that a change fails for what it does, and not for what another change did.
hypothesis.settings.register_profile(
    "any machine",
    max_examples=PROPERTY_CASES,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Choose which tests run, and in how many processes."""
    selection = Selection(config)
    selection.use_all_cores()
    config.pluginmanager.register(selection)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector pass over what is imported and collected: it lives to the end, and is large."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings that the developer's own environment has."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@cache
def _schema() -> FederatedSchema:
    """Return the schema of all gateways whose settings change nothing about it: to build it takes a test's time."""
    return build_schema()


@pytest.fixture
def west_of_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process be in a time zone of its own."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Stop after the test what it has started, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def upstream(servers: ExitStack, sandbox: Sandbox) -> str:
    """The address of the running sandbox."""
    return servers.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url


@pytest.fixture
def start(servers: ExitStack, upstream: str) -> StartGateway:
    """Start a gateway with these settings, in service mode unless they name another."""

    def start_gateway(headers: dict[str, str] | None = None, timing: Timing = REAL_TIME, **overrides: Any) -> Gateway:
        chosen = settings(**{"upstream_url": upstream, **with_account(**overrides)})
        app = create_app(chosen, timing, schema=_schema())
        listener = bind(chosen.server.host, 0, option="port") if "host" in overrides else None
        url = servers.enter_context(BackgroundServer(gateway_config(app), listener=listener)).url
        client = httpx.Client(base_url=url, headers=headers, trust_env=False, verify=NO_CERTIFICATES, timeout=30)
        return Gateway(servers.enter_context(client), url)

    return start_gateway


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables that let processes keep bytecode: without it they take three times as long to start."""
    if not sys.dont_write_bytecode:
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.stop()


@pytest.fixture
def begin(servers: ExitStack, tmp_path: Path, bytecode: dict[str, str], fork_server: ForkServer) -> Start:
    """Start the gateway, or another command, in an empty directory; ``env`` holds settings by field name."""

    def begin_program(*arguments: str, command: tuple[str, ...] | None = None, **env: str) -> Program:
        variables = {f"GATEWAY_{name.upper()}": value for name, value in env.items()}
        if command is None:
            program = Program(fork_server.start(arguments, tmp_path, environment(variables)))
        else:
            program = Program.start((*command, *arguments), tmp_path, {**bytecode, **variables})
        servers.callback(program.kill)
        return program

    return begin_program
