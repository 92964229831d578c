"""A browser without network access beyond this machine, and a page that must not log errors."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.web.graphiql.assets import built_assets
from tests.harness import Gateway
from tests.requirements import GRAPHIQL_PAGE, missing, require_module, require_program

SCREENSHOTS = Path(__file__).parent / "screenshots"
TIMEOUT_MILLISECONDS = 60_000  # on a busy machine the first page took more than 20 s
EDITOR = ".graphiql-query-editor .monaco-editor"  # its lines can be scrolled out of sight
FLAGS = [
    "--no-sandbox",  # it does not work as root, and only our page is opened
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@dataclass(slots=True)
class GraphiQLPage:
    """GraphiQL in a tab, used through what is visible, with mouse and keyboard."""

    tab: Any
    """Playwright's page."""
    origin: str
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Record every error in the console, and every request to another host."""
        self.tab.on("console", lambda message: self._on_console(message.type, message.text))
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("request", lambda request: self._on_request(request.url))

    def _on_console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.problems.append(f"{kind}: {text}")

    def _on_request(self, url: str) -> None:
        if urlsplit(url).scheme != "data" and not url.startswith(self.origin + "/"):
            self.problems.append(f"a request for {url}")

    def open(self, path: str = "/graphql") -> None:
        """Open the page, and wait for its editor."""
        self.tab.goto(self.origin + path)
        self.tab.wait_for_selector(".graphiql-query-editor .view-line")

    def wait_for_schema(self) -> None:
        """Wait until the schema is loaded, from which queries are completed and checked."""
        self.tab.wait_for_function(
            """() => performance.getEntriesByType('resource').some(
                each => each.initiatorType === 'fetch' && each.name.endsWith('/graphql') && each.responseEnd > 0
            )"""
        )

    def write(self, text: str) -> None:
        """Replace the query by typing."""
        self.tab.click(EDITOR)
        self.tab.keyboard.press("ControlOrMeta+A")
        self.tab.keyboard.press("Delete")
        self.tab.keyboard.type(text)

    def run(self) -> None:
        """Run the operation with the keyboard."""
        self.tab.click(EDITOR)
        self.tab.keyboard.press("ControlOrMeta+Enter")

    def query(self) -> str:
        """Return the visible query."""
        return self._seen(".graphiql-query-editor .view-lines")

    def wait_for_result(self, *parts: str) -> None:
        """Wait until the result contains all parts."""
        script = """parts => {
            const seen = document.querySelector('.result-window .view-lines')?.innerText.replaceAll('\\u00a0', ' ')
            return seen !== undefined && parts.every(part => seen.includes(part))
        }"""
        self.tab.wait_for_function(script, arg=list(parts))

    def _seen(self, selector: str) -> str:
        return str(self.tab.inner_text(selector)).replace("\u00a0", " ")

    def screenshot(self, name: str) -> None:
        """Save a screenshot."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.tab.screenshot(path=SCREENSHOTS / f"{name}.png")


OpenPage = Callable[..., GraphiQLPage]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium. Playwright's event loop runs during a module's tests, so they cannot have their own."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium-browser") or require_program("chromium")
    if built_assets() is None:
        missing(*GRAPHIQL_PAGE)
    playwright = require_module("playwright.sync_api", "browser")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Open GraphiQL in a new profile. Fail at the end if it had any problem."""
    pages: list[GraphiQLPage] = []
    contexts: list[Any] = []

    def open_(gateway: Gateway, **options: Any) -> GraphiQLPage:
        contexts.append(chromium.new_context(viewport={"width": 1400, "height": 850}, **options))
        contexts[-1].set_default_timeout(TIMEOUT_MILLISECONDS)
        pages.append(GraphiQLPage(contexts[-1].new_page(), gateway.url))
        pages[-1].watch()
        pages[-1].open()
        return pages[-1]

    yield open_
    for context in contexts:
        context.close()
    assert [problem for page in pages for problem in page.problems] == []
