"""The page where GraphiQL was not built and no CDN is reached: it says what to do, and runs operations by itself."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from gateway.app import create_app
from gateway.sandbox import BackgroundServer, Sandbox
from gateway.server.config import gateway_config
from gateway.web.graphiql.assets import SOURCES
from gateway.web.graphiql.page import GraphiQLPage
from tests.browser.conftest import SCREENSHOTS, TIMEOUT_MILLISECONDS
from tests.harness import SERVICE, settings

pytestmark = pytest.mark.slow

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def url(servers: ExitStack, upstream: str, tmp_path: Path) -> str:
    """The address of a gateway whose page was not built."""
    for name in ("fallback.js", "fallback.css", "fallback.json"):
        (tmp_path / name).write_bytes((SOURCES / name).read_bytes())
    page = GraphiQLPage(authorization=False, explain=False, sources=tmp_path)
    app = create_app(settings(upstream_url=upstream, **SERVICE, resync_interval=0.2))

    async def show(_request: Request) -> Response:
        return page.response()

    routes = [Route("/graphql", show, methods=["GET"]), *page.routes(), Mount("/", app)]
    outer = Starlette(routes=routes, lifespan=app.router.lifespan_context)
    return servers.enter_context(BackgroundServer(gateway_config(outer))).url


def test_it_says_what_to_do_and_runs_operations(chromium: Any, url: str, sandbox: Sandbox) -> None:
    sandbox.store.put_thread({"id": "watched", "status": "first"})
    context = chromium.new_context(viewport=WIDE)
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on(
        "console", lambda message: problems.append(message.text) if "unpkg.com" not in message.location["url"] else None
    )
    tab.goto(f"{url}/graphql")
    assert "npm --prefix gateway/web/graphiql run build" in tab.get_by_role("note").inner_text()
    assert "GraphiQL cannot be loaded" in tab.get_by_role("alert").inner_text()
    result = tab.get_by_label("Result")

    tab.get_by_role("button", name="Run").click()
    result.get_by_text('"attachmentMovements"').wait_for()
    tab.get_by_label("Operation").fill("query ($id: ID!) { thread(id: $id) { status } }")
    tab.get_by_label("Variables (JSON)").fill('{"id": "watched"}')
    tab.keyboard.press("Control+Enter")
    result.get_by_text('"status": "first"').wait_for()
    tab.get_by_label("Variables (JSON)").fill("{")
    tab.keyboard.press("Control+Enter")
    result.get_by_text("SyntaxError").wait_for()

    tab.get_by_label("Variables (JSON)").fill("")
    tab.get_by_label("Operation").fill('subscription { threadUpdated(id: "watched") { status } }')
    tab.keyboard.press("Control+Enter")
    for status in ("first", "second", "third"):
        sandbox.store.put_thread({"id": "watched", "status": status})
        result.get_by_text(f'"threadUpdated": {{\n    "status": "{status}"').wait_for()
    for name, size in (("wide", WIDE), ("narrow", NARROW)):
        for scheme in ("light", "dark"):
            tab.set_viewport_size(size)
            tab.emulate_media(color_scheme=scheme)
            SCREENSHOTS.mkdir(exist_ok=True)
            tab.screenshot(path=SCREENSHOTS / f"unbuilt-{name}-{scheme}.png", full_page=True)
    assert tab.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    operation, shown = tab.get_by_label("Operation").bounding_box(), result.bounding_box()
    assert operation["y"] + operation["height"] < shown["y"]
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_role("button", name="Stop", disabled=True).wait_for()
    context.close()
    assert problems == []
