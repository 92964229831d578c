"""GraphiQL's panel of REST calls: what is predicted before an operation runs, beside what was made after it."""

import re

import pytest

from gateway.sandbox import Fault, Sandbox
from tests.browser.conftest import EDITOR, GraphiQLPage, OpenPage
from tests.harness import StartGateway

pytestmark = pytest.mark.slow

THREAD, MESSAGES = "GET /api/v1/thread/{id}", "GET /api/v1/thread/{id}/messages"
CUSTOMER = "GET /api/v1/customers/{customer_external_id}"
TOKEN = "POST /api/v1/chat/token"
NOT_RUN = "\N{EN DASH}"

ENTITIES = (
    '{ _entities(representations: [{__typename: "Thread", id: "th-2"}, {__typename: "Customer", externalId: "cu-1"}]) '
    "{ ... on Thread { id messages(first: 1) { totalCount } } ... on Customer { id } } }"
)
MUTATION = 'mutation { createChatToken(input: { externalId: "cu-1" }) { outcome } }'
CACHED = '{ threads(ids: ["th-1", "th-2"]) { tags } }'
# The operation, and by route how many calls are predicted and made.
SHAPES: dict[str, tuple[str, dict[str, tuple[int, int]]]] = {
    "a thread": ('{ thread(id: "th-1") { id } }', {THREAD: (1, 1)}),
    "a list": ('{ threads(ids: ["th-3", "th-1", "th-3"]) { id } }', {THREAD: (2, 2)}),
    "nested customers": (
        '{ thread(id: "th-1") { customers { profile { customer { id } } } } }',
        {THREAD: (1, 1), CUSTOMER: (3, 3)},
    ),
    "equal ids": ('{ a: thread(id: "th-1") { id } b: thread(id: "th-1") { status } }', {THREAD: (1, 1)}),
    "other ids": ('{ a: thread(id: "th-2") { id } b: thread(id: "th-3") { id } }', {THREAD: (2, 2)}),
    "entities": (ENTITIES, {THREAD: (1, 1), MESSAGES: (1, 1), CUSTOMER: (1, 1)}),
    "a page of messages": (
        'query ($id: ID = "th-1") { thread(id: $id) { messages(first: 2) { totalCount } } }',
        {THREAD: (1, 1), MESSAGES: (1, 1)},
    ),
    "a mutation": (MUTATION, {TOKEN: (1, 1)}),
    "nothing there": (
        '{ thread(id: "nowhere") { messages { totalCount } } }',
        {THREAD: (1, 1), MESSAGES: (1, 0)},
    ),
    "an error": (
        '{ customer(externalId: "cu-9") { profile { customer { id } } } }',
        {CUSTOMER: (2, 1)},
    ),
    "cached": (CACHED, {THREAD: (2, 2)}),
}
READ_ROWS = """() => {
    const first = each => each.innerText.split('\\n')[0]
    const rows = [...document.querySelectorAll('section[aria-label="Prediction"] tbody tr')]
    return rows.map(row => [row.querySelector('button').innerText, ...[...row.querySelectorAll('td')].map(first)])
}"""


def paste(page: GraphiQLPage, text: str) -> None:
    """Replace the operation. To type it takes a second or more."""
    page.tab.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.tab.click(EDITOR)
    page.tab.keyboard.press("ControlOrMeta+A")
    page.tab.keyboard.press("ControlOrMeta+V")


def wait_for_rows(page: GraphiQLPage, expected: list[list[str]]) -> None:
    """Wait until the table of the prediction has these rows: the route, how many calls are predicted, and made."""
    try:
        page.tab.wait_for_function(
            f"expected => JSON.stringify(({READ_ROWS})()) === JSON.stringify(expected)", arg=expected
        )
    except Exception:
        assert page.tab.evaluate(READ_ROWS) == expected
        raise


def run(page: GraphiQLPage, text: str, rows: dict[str, tuple[int, int]]) -> None:
    """Write an operation, wait for its prediction, run it, and wait for the comparison."""
    paste(page, text)
    wait_for_rows(page, [[route, str(predicted), NOT_RUN] for route, (predicted, _) in rows.items()])
    page.run()
    wait_for_rows(page, [[route, str(predicted), str(made)] for route, (predicted, made) in rows.items()])


def marked(page: GraphiQLPage) -> list[str]:
    return [str(each) for each in page.tab.locator(".graphiql-query-editor .call-mark").all_inner_texts()]


def test_calls_are_predicted_made_compared_and_explained(
    start: StartGateway, sandbox: Sandbox, open_page: OpenPage
) -> None:
    """One page, since a page takes seconds to load."""
    gateway = start(
        graphiql=True,
        explain=True,
        mutations=True,
        cache_url="memory://",
        cache_ttl_thread=3600,
        cost_list_size=3,
        upstream_retries=0,
        upstream_read_timeout=6,
        breaker_min_volume=1,
        breaker_failure_rate=0.01,  # the first failure opens the circuit of its route
        breaker_pause=600,
    )
    page = open_page(gateway, permissions=["clipboard-read", "clipboard-write"])
    page.tab.get_by_label("Show REST calls").click()
    last = page.tab.get_by_role("region", name="Last run")
    last.get_by_text("Run an operation").wait_for()
    sandbox.faults.add(Fault("customer", "cu-9", status=503))
    for text, rows in SHAPES.values():
        run(page, text, rows)
    assert last.locator("tbody tr").first.inner_text().count("cache,") == 1
    assert page.tab.get_by_role("status").inner_text().startswith("2 REST calls, 0 fetched")
    page.screenshot("calls-cached")

    paste(page, "{ thread(id: ")
    page.tab.get_by_text("The operation is not complete.").wait_for()
    paste(page, "{ threat { id } }")
    page.tab.get_by_role("region", name="Prediction").get_by_text("Cannot query field").wait_for()

    sandbox.faults.add(Fault("messages", hold="for ever"))
    run(
        page,
        '{ them: thread(id: "th-1") { status ...F } } fragment F on Thread { messages(first: 3) { totalCount } }',
        {THREAD: (1, 1), MESSAGES: (1, 1)},
    )
    thread, messages = last.locator("tbody tr").all()
    assert "GET /api/v1/thread/{them(id)}" in thread.inner_text()
    assert "feeds them" in thread.inner_text()
    assert "GET /api/v1/thread/{them.id}/messages?offset=0&limit=3" in messages.inner_text()
    assert re.search(r"timed out after \d+(\.\d+)? s · 1 attempt · REST", messages.inner_text())
    assert marked(page) == []
    messages.get_by_role("button").hover()
    page.tab.wait_for_selector(".call-mark")
    assert marked(page) == ["messages"]
    page.screenshot("calls-timeout")
    thread.get_by_role("button").hover()
    page.tab.wait_for_function("() => document.querySelector('.call-mark')?.innerText.startsWith('them')")
    page.tab.mouse.move(0, 0)
    page.tab.wait_for_function("() => !document.querySelector('.call-mark')")
    messages.get_by_role("button").focus()
    page.tab.wait_for_selector(".call-mark")
    assert marked(page) == ["messages"]
    messages.get_by_role("button").blur()
    page.tab.wait_for_function("() => !document.querySelector('.call-mark')")
    sandbox.faults.clear()

    run(page, '{ customer(externalId: "cu-8") { id } thread(id: "gone") { id } }', {CUSTOMER: (1, 1), THREAD: (1, 1)})
    last.get_by_text("circuit open: the route keeps failing and gets a pause").wait_for()
    last.get_by_text("not found · 1 attempt · REST").wait_for()
    page.screenshot("calls-circuit")
