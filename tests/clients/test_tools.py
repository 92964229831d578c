"""Each tool in the table of docs/clients.md has a test that exists, and each client that is installed is in it."""

import ast
import json

import pytest

from tests.clients.tools import PYPI, TESTS, TOOLS, Tool

# What the tools need of others, and what the test programs are written with.
NO_TOOLS = {
    *("@graphql-codegen/typed-document-node", "@graphql-codegen/typescript", "@graphql-codegen/typescript-operations"),
    *("@graphql-typed-document-node/core", "@types/node", "@types/ws", "eslint", "rxjs", "typescript", "ws"),
}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.package)
def test_the_test_of_a_tool_exists_and_its_version_is_known(tool: Tool) -> None:
    path, _, name = tool.test.partition("::")
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
    assert tool.version[0].isdigit()


def test_the_table_has_every_client_that_is_installed() -> None:
    manifest = json.loads((TESTS / "clients" / "package.json").read_text(encoding="utf-8"))
    assert {*manifest["dependencies"], *PYPI} - {each.package for each in TOOLS} == NO_TOOLS
