"""What some tests need and a machine may lack: without it they are skipped, with one line for each such program."""

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest

REQUIRED = "TESTS_REQUIRE_PROGRAMS"
"""The environment variable with which a missing program fails the test: `.ci/run` sets it."""

GRAPHIQL_PAGE = (
    "GraphiQL's page",
    "npm --prefix gateway/web/graphiql ci && npm --prefix gateway/web/graphiql run build",
)


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test. pytest counts the tests with the same reason in one line of its summary."""
    reason = f"for want of {what} ({remedy})"
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str) -> str | None:
    """Return the path of a program. Distributions install servers outside the PATH of ordinary users."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def require_program(name: str) -> str:
    """Return the path of a program whose Debian package has the same name."""
    return find_program(name) or missing(name, f"apt-get install {name}")


def require_module(name: str, group: str) -> ModuleType:
    """Return a module that only one dependency group installs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(name.partition(".")[0], f"uv sync --group {group}")
