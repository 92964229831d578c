"""The clients, built once for all tests of this folder."""

import pytest

from tests.javascript import Project, project


@pytest.fixture(scope="session")
def built() -> Project:
    """The project, with its types generated from ``schema.graphql`` and strictly checked."""
    clients = project("clients")
    clients.run("node_modules/.bin/graphql-codegen", "--config", "codegen.ts")
    clients.run("node_modules/.bin/gql.tada", "generate-output")
    clients.run("node_modules/.bin/tsc")
    return clients
