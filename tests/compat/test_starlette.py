"""Canaries of gateway/compat/starlette.py: after an upgrade, each names the borrowed behaviour that is gone."""

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.compat.starlette import Application, EncodedResponse, without_slash_redirects
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


class Marked:
    """A middleware that marks each response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-marked", b"1"))
            await send(message)

        await self.app(scope, receive, marked)


async def fail(_request: Request) -> PlainTextResponse:
    raise LookupError


def test_an_unexpected_error_is_answered_inside_the_middleware() -> None:
    app = Application(routes=[Route("/fail", fail), Route("/ok", ok)], middleware=[Middleware(Marked)])
    with BackgroundServer(sandbox_config(app)) as server:
        for path, expected in (("fail", 500), ("ok", 200), ("nowhere", 404)):
            response = httpx.get(f"{server.url}/{path}", trust_env=False, verify=NO_CERTIFICATES)
            assert (response.status_code, response.headers.get("x-marked")) == (expected, "1")


async def encoded(_request: Request) -> EncodedResponse:
    response = EncodedResponse(b"{}", 200, [(b"content-type", b"application/json"), (b"etag", b"old")])
    response.headers["etag"] = "new"
    del response.headers["content-type"]
    response.raw_headers.append((b"x-added", b"1"))
    return response


def test_an_encoded_response_is_sent_with_the_headers_that_were_set() -> None:
    """If it fails, responses of /graphql lack headers or a body."""
    with BackgroundServer(sandbox_config(Starlette(routes=[Route("/", encoded)]))) as server:
        response = httpx.get(server.url, trust_env=False, verify=NO_CERTIFICATES)
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"{}", "2")
    assert (response.headers["etag"], response.headers["x-added"]) == ("new", "1")
    assert "content-type" not in response.headers
