"""The demo's GraphiQL in the system's Chromium: what its sandbox is made to do, and what a subscription shows of it."""

from contextlib import ExitStack
from itertools import pairwise

import httpx
import pytest

from gateway.app import create_app
from gateway.demo import SANDBOX_PATH, SandboxControls
from gateway.sandbox import BackgroundServer, Sandbox, Target
from gateway.server.config import gateway_config
from tests.auth.issuer import eventually
from tests.browser.conftest import SCREENSHOTS, GraphiQLPage, OpenPage
from tests.harness import SERVICE, Gateway, settings

pytestmark = pytest.mark.slow

WEBHOOK = "Bearer of the webhook"
PANES = (".graphiql-query-editor", ".graphiql-editor-tools", ".result-window", ".graphiql-footer")


@pytest.fixture
def demo(servers: ExitStack, sandbox: Sandbox, upstream: str) -> Gateway:
    """A gateway as the demo starts it, but with no retries and without the time that a circuit breaker waits."""
    chosen = settings(
        upstream_url=upstream,
        **SERVICE,
        graphiql=True,
        explain=True,
        mutations=True,
        upstream_retries=0,
        webhook_authorization=WEBHOOK,
    )
    app = create_app(chosen)
    app.state.graphiql.offer_sandbox(SANDBOX_PATH)
    url = servers.enter_context(BackgroundServer(gateway_config(SandboxControls(app, sandbox)))).url
    sandbox.webhooks.send_to(Target(f"{url}/webhooks/gochat", WEBHOOK))
    servers.callback(sandbox.webhooks.send_to, None)
    return Gateway(servers.enter_context(httpx.Client(base_url=url, trust_env=False)), url)


def open_tab(page: GraphiQLPage, name: str) -> None:
    """Open a tab, and wait until its operation is in the editor."""
    page.tab.get_by_role("tab", name=name).click()
    page.tab.wait_for_function(
        "name => document.querySelector('.graphiql-query-editor .view-lines').innerText.includes(name)", arg=name
    )


def click(page: GraphiQLPage, name: str) -> None:
    page.tab.get_by_role("button", name=name, exact=True).click()


def test_the_sandbox_is_controlled_by_clicks(demo: Gateway, sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page(demo)
    page.wait_for_schema()
    page.tab.get_by_label("Show Sandbox").click()
    panel = page.tab.get_by_role("region", name="Sandbox", exact=True)
    faults = panel.get_by_role("group", name="Fault")
    assert faults.get_by_role("button", pressed=True).inner_text() == "none"
    for name, result in (("503", "UPSTREAM_UNAVAILABLE"), ("wrong type", "UPSTREAM_INVALID_RESPONSE")):
        faults.get_by_role("button", name=name, exact=True).click()
        page.tab.get_by_text(f"Fault {name}:").wait_for()
        page.run()
        page.wait_for_result(result)
    page.screenshot("sandbox-fault")
    click(page, "End the fault")
    faults.get_by_role("button", name="none", pressed=True).wait_for()
    assert sandbox.faults.pending() == ()

    open_tab(page, "WatchThread")
    page.run()
    page.wait_for_result('"status": "Open"')
    for status in ("Waiting", "Closed"):
        click(page, "Change thread th-1 in the sandbox")
        page.wait_for_result(f'"status": "{status}"')
    page.tab.get_by_label("Show Timeline").click()
    timeline = page.tab.get_by_role("region", name="Timeline").get_by_role("listitem")
    assert [each.inner_text().partition("\n")[0] for each in timeline.all()] == ["thread_updated"] * 2 + ["subscribed"]
    seen = timeline.first.get_by_role("rowheader").all_inner_texts()
    assert seen == ["webhook", "purge", "read", "result", "delivery", "shown"]
    assert "extensions" not in page.tab.inner_text(".result-window")
    page.screenshot("timeline")
    page.tab.get_by_label("Show Sandbox").click()
    click(page, "doubled")
    page.tab.get_by_text("Webhooks doubled:").wait_for()
    click(page, "thread_updated")
    eventually(lambda: [each.status for each in sandbox.webhooks.posted] == [204] * 4)
    page.screenshot("sandbox-subscription")
    click(page, "Post them as usual")
    panel.get_by_role("button", name="ordinary", pressed=True).wait_for()
    page.tab.get_by_label("Stop query").click()
    page.tab.get_by_label("Execute query").wait_for()
    look(page)


def look(page: GraphiQLPage) -> None:
    """Take pictures of both schemes in a wide and a narrow window, in which the panes are below each other."""
    for scheme in ("light", "dark"):
        page.tab.emulate_media(color_scheme=scheme)
        page.open()  # the editor chooses its colours when it is loaded
        for width, height in ((1440, 900), (390, 844)):
            page.tab.set_viewport_size({"width": width, "height": height})
            page.tab.wait_for_function(
                "width => document.querySelector('.result-window').clientWidth < width", arg=width
            )
            page.tab.screenshot(path=SCREENSHOTS / f"demo-{width}-{scheme}.png", full_page=True)
        page.tab.set_viewport_size({"width": 1440, "height": 900})
    page.tab.set_viewport_size({"width": 390, "height": 844})
    places = [page.tab.locator(each).bounding_box() for each in (".graphiql-plugin", *PANES)]
    for above, below in pairwise(places):
        assert above["y"] + above["height"] <= below["y"]
    assert all(each["x"] >= 0 and each["x"] + each["width"] <= 390 for each in places)
    assert page.tab.evaluate("document.documentElement.scrollWidth") == 390
