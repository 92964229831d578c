"""GraphiQL in the system's Chromium, with a real gateway and the sandbox."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gateway.sandbox import Sandbox
from tests.browser.conftest import OpenPage
from tests.harness import Gateway, StartGateway

pytestmark = pytest.mark.slow

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "graphiql.png"
"""The README's picture. It is written if the environment variable ``WRITE_PICTURE`` is set."""

TRANSFERRED = "performance.getEntriesByType('resource').reduce((sum, each) => sum + each.transferSize, 0)"
"""The number of bytes that the page has loaded."""


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(graphiql=True, explain=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_in_both_schemes_and_runs_its_query(gateway: Gateway, open_page: OpenPage, scheme: str) -> None:
    page = open_page(gateway, color_scheme=scheme)
    page.run()
    page.wait_for_result('"subject"', '"attachmentMovements"')
    page.screenshot(f"query-{scheme}")
    assert 500_000 < page.tab.evaluate(TRANSFERRED) < 1_600_000, "a first visit loads little"
    background = page.tab.evaluate("getComputedStyle(document.querySelector('.graphiql-container')).backgroundColor")
    lightness = sum(int(each) for each in re.findall(r"\d+", background)[:3]) / 3
    assert (lightness < 100) is (scheme == "dark"), background


def test_the_editor_completes_and_checks_fields_and_the_schema_is_browsed(
    gateway: Gateway, open_page: OpenPage
) -> None:
    """One page, since a page takes seconds to load."""
    page = open_page(gateway)
    page.wait_for_schema()
    page.tab.get_by_label("Show GraphiQL Explorer").click()
    page.tab.locator(".graphiql-explorer-root").get_by_text("messageCount", exact=True).first.click()
    page.screenshot("explorer")
    assert "messageCount" in page.query()

    page.tab.get_by_label("Show Documentation Explorer").click()
    docs = page.tab.locator(".graphiql-plugin")
    for name in ("Query", "Thread", "MessageConnection"):
        docs.get_by_role("link", name=name, exact=True).first.click()
        docs.locator(".graphiql-doc-explorer-title", has_text=name).wait_for()
    docs.get_by_text("totalCount").first.wait_for()
    page.screenshot("docs")

    page.write("{ nothingOfThatName }")
    page.tab.wait_for_selector(".graphiql-query-editor .squiggly-error")
    page.run()
    page.wait_for_result("GRAPHQL_VALIDATION_FAILED", "nothingOfThatName")
    page.screenshot("broken-query")

    page.write('{ thread(id: "th-1") { statu')
    page.tab.wait_for_selector(".suggest-widget.visible .monaco-list-row.focused")
    page.screenshot("completion")
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_function("() => !document.querySelector('.suggest-widget.visible')")
    assert "status" in page.query()
    page.run()
    page.wait_for_result('"status": "Open"')


def test_a_subscription_shows_each_state_until_it_is_stopped(
    start: StartGateway, sandbox: Sandbox, open_page: OpenPage
) -> None:
    sandbox.store.put_thread({"id": "watched", "status": "first"})
    page = open_page(start(graphiql=True, resync_interval=0.2))
    page.wait_for_schema()
    page.write('subscription { threadUpdated(id: "watched") { status } }')
    page.run()
    page.wait_for_result('"status": "first"')
    sandbox.store.put_thread({"id": "watched", "status": "second"})
    page.wait_for_result('"status": "second"')
    page.screenshot("subscription")
    page.tab.get_by_label("Stop query").click()
    page.tab.get_by_label("Execute query").wait_for()


def test_a_caller_enters_a_token(start: StartGateway, open_page: OpenPage) -> None:
    """No request is sent without a token, a wrong one is refused, and it is stored only on request."""
    page = open_page(start(upstream_identity="passthrough", inbound_auth=None, graphiql=True))
    page.tab.get_by_text("Authorization").first.wait_for()
    page.tab.click(".graphiql-editor-tool .graphiql-editor:not(.hidden) .view-lines")
    for key in ("ControlOrMeta+End", "ArrowUp", "End", "ArrowLeft"):  # between the prepared quotes
        page.tab.keyboard.press(key)
    page.tab.keyboard.type("Bearer wrong-token")
    page.run()
    page.wait_for_result("UNAUTHENTICATED", '"thread": null')
    page.screenshot("wrong-token")
    page.tab.get_by_label("Show Documentation Explorer").click()
    page.tab.locator(".graphiql-plugin").get_by_role("link", name="Query", exact=True).wait_for()
    assert page.tab.get_by_label("Show REST calls").count() == 0, "`explain` is off"
    kept = "JSON.stringify({...localStorage})"
    assert "wrong-token" not in page.tab.evaluate(kept)
    page.tab.get_by_label("Open settings dialog").click()
    page.tab.get_by_role("dialog").get_by_role("button", name="On", exact=True).click()
    assert "wrong-token" in page.tab.evaluate(kept)
    page.tab.get_by_role("dialog").get_by_role("button", name="Off", exact=True).click()
    assert "wrong-token" not in page.tab.evaluate(kept)


def test_tabs_are_remembered(gateway: Gateway, open_page: OpenPage) -> None:
    page = open_page(gateway)
    page.tab.get_by_label("New tab").click()
    page.write("query Remembered { __typename }")
    page.tab.get_by_role("tab", name="Remembered").wait_for()
    page.tab.wait_for_timeout(700)  # GraphiQL stores what is typed after half a second
    page.open()
    page.tab.get_by_role("tab", name="Remembered").wait_for()
    assert page.tab.get_by_role("tab").count() == 2
    assert "Remembered" in page.query()


def test_the_picture_shows_a_query_its_answer_and_its_calls(gateway: Gateway, open_page: OpenPage) -> None:
    page = open_page(gateway, color_scheme="light")
    page.tab.set_viewport_size({"width": 1280, "height": 600})
    page.wait_for_schema()
    page.tab.get_by_label("Show REST calls").click()
    page.write(
        'query Conversation { thread(id: "th-100") { status messageCount '
        "lastMessage { attachments { fileName fileSize } } "
        "messages(first: 2) { totalCount nodes { from subject createdAt } } } }"
    )
    page.tab.get_by_label("Prettify query").click()
    page.tab.wait_for_function("() => document.querySelectorAll('.graphiql-query-editor .view-line').length > 9")
    page.run()
    page.wait_for_result('"subject"', '"totalCount"')
    page.tab.get_by_role("region", name="Last run").get_by_role("row").nth(2).wait_for()
    page.tab.get_by_text("Predicted and made").wait_for()
    page.tab.keyboard.press("ControlOrMeta+Home")
    page.screenshot("picture")
    if os.environ.get("WRITE_PICTURE"):
        page.tab.screenshot(path=PICTURE)


SHARED = "query Shared($id: ID!) { thread(id: $id) { status } }"


def test_a_link_opens_its_operation_without_running_it_and_it_is_copied_as_a_command_and_as_a_test(
    gateway: Gateway, sandbox: Sandbox, open_page: OpenPage, tmp_path: Path
) -> None:
    variables = '{"id": "th-1\'\\""}'
    sandbox.store.put_thread({**json.loads(variables), "status": "Open"})
    link = "/graphql?" + urlencode({"query": SHARED, "variables": variables})
    page = open_page(gateway, permissions=["clipboard-read", "clipboard-write"])
    page.open(link)
    page.tab.wait_for_function("() => document.querySelector('.graphiql-query-editor').innerText.includes('Shared')")
    assert sandbox.count("thread") == 0
    page.run()
    page.wait_for_result('"status": "Open"')
    page.tab.get_by_label("Copy as curl").click()
    command = str(page.tab.evaluate("navigator.clipboard.readText()"))
    (body,) = re.findall(r"-d (.*)\n$", command)
    sent = json.loads("".join(shlex.split(body)))
    assert (sent["query"], sent["variables"]) == (SHARED, json.loads(variables))
    assert f"curl -s '{gateway.url}/graphql'" in command
    page.tab.get_by_label("Copy as pytest").click()
    test = tmp_path / "test_copied.py"
    test.write_text(str(page.tab.evaluate("navigator.clipboard.readText()")))
    command_line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(test),
    ]
    assert subprocess.run(command_line, capture_output=True, check=False, cwd=tmp_path).returncode == 0  # noqa: S603 - our own
    page.open("/")
    page.tab.wait_for_url("**/graphql")
