"""The clients, built once for all tests of this folder."""

import fcntl
import os

import pytest

from tests.javascript import Project, project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, with its types generated from ``schema.graphql`` and strictly checked.

    The processes of a run have one folder, and so one build: one that generates a file while another compiles it fails.
    """
    clients = project("clients")
    own = tmp_path_factory.getbasetemp()
    of_run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (of_run / "clients-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (of_run / "clients-built").exists():
            clients.run("node_modules/.bin/graphql-codegen", "--config", "codegen.ts")
            clients.run("node_modules/.bin/gql.tada", "generate-output")
            clients.run("node_modules/.bin/tsc")
            (of_run / "clients-built").touch()
    return clients
