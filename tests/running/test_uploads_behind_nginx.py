"""Uploads through nginx, with the configuration in docker/."""

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox
from gateway.server.config import gateway_config
from tests.harness import NO_CERTIFICATES, SERVICE, Gateway, settings
from tests.running.proxy import nginx
from tests.writes.uploads.forms import arrived, form, post, sent, upload

pytestmark = pytest.mark.slow

MEGABYTE = 2**20


def test_an_upload_of_any_size_reaches_the_gateway_which_refuses_what_is_too_large(
    servers: ExitStack, upstream: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    app = create_app(settings(upstream_url=upstream, mutations=True, **SERVICE))
    port = servers.enter_context(BackgroundServer(gateway_config(app))).port
    url = servers.enter_context(nginx([port, port], tmp_path))
    client = servers.enter_context(httpx.Client(base_url=url, trust_env=False, verify=NO_CERTIFICATES, timeout=60))
    gateway = Gateway(client, url)
    contents = [bytes([number]) * (25 * MEGABYTE // 10) for number in range(10)]
    assert sent(gateway, upload(contents))["outcome"] == "APPLIED"
    assert [content for _, content in arrived(sandbox)] == contents
    refused = post(gateway, form(upload([*contents[:9], contents[9] + b"x"])))
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (413, "MAX_BODY_LIMIT")
