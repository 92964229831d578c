"""Clients upload files: Apollo Client with apollo-upload-client, urql by itself, graphql-request with a middleware."""

import base64
import json

import msgspec
import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from gateway.server.config import gateway_config
from tests.clients.test_clients import AUTHORIZATION
from tests.harness import settings
from tests.javascript import Project

pytestmark = pytest.mark.slow


def test_clients_upload_files(built: Project) -> None:
    sandbox = Sandbox()
    with BackgroundServer(sandbox_config(sandbox.app)) as upstream:
        app = create_app(settings(upstream_url=upstream.url, mutations=True))
        with BackgroundServer(gateway_config(app)) as gateway:
            outcomes = json.loads(built.run("build/uploads.js", f"{gateway.url}/graphql", AUTHORIZATION))
    plain = outcomes.pop("plain")  # graphql-request without the middleware
    assert outcomes == {"apollo": "APPLIED", "urql": "APPLIED", "request": "APPLIED"}
    assert plain["extensions"]["code"] == "BAD_USER_INPUT"
    assert "An Upload is a file of a multipart request" in plain["message"]
    bodies = [msgspec.json.decode(call.body) for call in sandbox.calls if call.route == "message"]
    attachments = [[(each["name"], base64.b64decode(each["file"])) for each in body["attachments"]] for body in bodies]
    assert attachments == [
        [(f'{client} “Ü” 🪁 a/b "c".txt', f"from {client}".encode()), ("named.bin", bytes([7]) * 300_000)]
        for client in outcomes
    ]
