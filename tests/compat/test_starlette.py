"""Canaries of gateway/compat/starlette.py: after an upgrade, each names the borrowed behaviour that is gone."""

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.compat.starlette import without_slash_redirects
from gateway.sandbox import BackgroundServer, sandbox_config
from tests.harness import NO_CERTIFICATES


async def ok(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def status(app: Starlette) -> int:
    with BackgroundServer(sandbox_config(app)) as server:
        return httpx.get(f"{server.url}/path/", trust_env=False, verify=NO_CERTIFICATES).status_code


def test_a_path_with_a_slash_is_not_redirected() -> None:
    app = without_slash_redirects(Starlette(routes=[Route("/path", ok)]))
    assert status(app) == 404, "`Router.redirect_slashes` does not switch off the redirect"


def test_starlette_redirects_without_it() -> None:
    assert status(Starlette(routes=[Route("/path", ok)])) == 307, "without_slash_redirects is not needed any more"
