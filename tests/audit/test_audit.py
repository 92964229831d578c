"""GraphQL over HTTP, as the audit of the npm package ``graphql-http`` sees it."""

import json

import pytest

from tests.harness import Gateway
from tests.javascript import project

pytestmark = pytest.mark.slow


def test_every_check_of_the_graphql_over_http_audit_is_ok(gateway: Gateway) -> None:
    """Its requirements (error), its recommendations (warn) and what it merely notes (notice)."""
    checks = json.loads(project("audit").run("audit.mjs", f"{gateway.url}/graphql"))
    failing = [
        f"{check['id']} {check['status']}: {check['name']}: {check['reason']} ({check['answer']})"
        for check in checks
        if check["status"] != "ok"
    ]
    assert not failing, "\n".join(failing)
    assert len(checks) >= 61
