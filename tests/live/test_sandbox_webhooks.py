"""From a change in the sandbox to a subscriber, whatever happens to the webhooks on their way."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, Sandbox, Target
from tests.harness import Gateway, StartGateway
from tests.programs import until
from tests.web.streams.responses import EVENTS, events_of, streamed

SECRET = "Bearer of the webhook"
WATCH = 'subscription { threadUpdated(id: "t") { status tags } }'
READ = '{ thread(id: "t") { status } }'


@pytest.fixture
def gateway(start: StartGateway) -> Gateway:
    return start(cache_url="memory://", cache_ttl_thread=600, webhook_authorization=SECRET, resync_interval=3600)


@pytest.fixture
def send(gateway: Gateway, sandbox: Sandbox) -> Iterator[Callable[..., None]]:
    """Send the sandbox's webhooks to the gateway."""
    sandbox.store.put_thread({"id": "t", "status": "first"})

    def begin(**fields: Any) -> None:
        sandbox.webhooks.send_to(Target(f"{gateway.url}/webhooks/gochat", SECRET, **fields))

    yield begin
    sandbox.webhooks.send_to(None)


def settled(sandbox: Sandbox, posts: int) -> list[int | None]:
    """Wait for so many posts, and return how they were answered."""
    until(lambda: len(sandbox.webhooks.posted) >= posts and not sandbox.webhooks.waiting, "the webhooks are sent")
    return [each.status for each in sandbox.webhooks.posted]


def statuses(response: httpx.Response) -> Iterator[object]:
    """Yield the status of the thread in each result."""
    return (each.data["data"]["threadUpdated"]["status"] for each in events_of(response) if each.type == "next")


def change(upstream: str, status: object) -> None:
    """Change the thread by the sandbox's control route."""
    httpx.put(f"{upstream}/_sandbox/threads/t", json={"status": status}, trust_env=False).raise_for_status()


def test_a_change_in_the_sandbox_reaches_a_subscriber(
    gateway: Gateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send()
    with streamed(gateway, WATCH, EVENTS) as response:
        states = statuses(response)
        assert next(states) == "first"
        change(upstream, "second")
        assert next(states) == "second"
    assert settled(sandbox, 1) == [204]
    (posted,) = sandbox.webhooks.posted
    assert posted.event["event_code"] == "thread_updated"
    assert posted.event["event_source"] == "web"
    assert posted.event["data"] == {"client_id": 1, "threads": [{"thread_id": "t"}]}


def test_a_write_over_the_rest_api_is_told(
    gateway: Gateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send()
    assert gateway.data(READ) == {"thread": {"status": "first"}}
    path, login = f"{upstream}/api/v1/thread/t", httpx.BasicAuth(USERNAME, PASSWORD)
    httpx.post(path, json={"status": 3}, auth=login, trust_env=False).raise_for_status()
    new = {"thread_id": "t", "from": "agent@sandbox.example", "subject": "s", "content": "c", "to": None}
    sandbox.store.outbox_delay = 0.05
    written = httpx.post(f"{upstream}/api/v1/message", json=new, auth=login, trust_env=False)
    assert written.status_code == 204, written.text
    assert settled(sandbox, 2) == [204, 204]
    assert [each.event["event_code"] for each in sandbox.webhooks.posted] == [
        "thread_updated",
        "thread_message_updated",
    ]
    until(lambda: gateway.data(READ) == {"thread": {"status": 3}}, "the thread is purged")


def test_a_changed_customer_is_told_by_both_ids(sandbox: Sandbox, send: Callable[..., None]) -> None:
    send()
    sandbox.store.put_customer("e-1", {"customer": {"id": "c-1", "external_id": "e-1"}})
    assert settled(sandbox, 1) == [204]
    data = {"client_id": 1, "customers": [{"customer_id": "c-1", "external_id": "e-1"}]}
    assert sandbox.webhooks.posted[0].event["data"] == data


def test_a_doubled_webhook_is_one_change(
    gateway: Gateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send(copies=3)
    with streamed(gateway, WATCH, EVENTS) as response:
        states = statuses(response)
        next(states)
        before = sandbox.count("thread")
        change(upstream, "second")
        assert next(states) == "second"
        assert settled(sandbox, 3) == [204] * 3
        change(upstream, "third")
        assert next(states) == "third", "nothing came between"
        settled(sandbox, 6)
    assert sandbox.count("thread") == before + 2


def test_reordered_webhooks_end_at_the_last_state(
    gateway: Gateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send(reorder=3)
    assert gateway.data(READ) == {"thread": {"status": "first"}}
    for status in ("second", "third"):
        change(upstream, status)
    assert sandbox.webhooks.waiting == 2
    change(upstream, "last")
    assert settled(sandbox, 3) == [204] * 3
    assert [int(each.event["event_id"]) for each in sandbox.webhooks.posted] == [3, 2, 1]
    assert gateway.data(READ) == {"thread": {"status": "last"}}


def test_a_delayed_webhook_comes_later_and_not_never(
    gateway: Gateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send(delay=0.2)
    assert gateway.data(READ) == {"thread": {"status": "first"}}
    begun = time.monotonic()
    change(upstream, "second")
    assert settled(sandbox, 1) == [204]
    assert time.monotonic() - begun >= 0.2
    assert gateway.data(READ) == {"thread": {"status": "second"}}


def test_a_lost_webhook_is_healed_by_reading_again(
    start: StartGateway, sandbox: Sandbox, upstream: str, send: Callable[..., None]
) -> None:
    send(copies=0)
    gateway = start(cache_url="memory://", cache_ttl_thread=600, webhook_authorization=SECRET, resync_interval=0.2)
    with streamed(gateway, WATCH, EVENTS) as response:
        states = statuses(response)
        assert next(states) == "first"
        change(upstream, "second")
        assert next(states) == "second"
    assert sandbox.webhooks.posted == []


def test_a_target_that_does_not_answer_or_refuses_is_noted(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.webhooks.send_to(Target("http://127.0.0.1:1/", SECRET))
    sandbox.store.put_thread({"id": "t"})
    assert settled(sandbox, 1) == [None]
    sandbox.webhooks.send_to(Target(f"{gateway.url}/webhooks/gochat", "Bearer wrong"))
    sandbox.store.put_thread({"id": "t"})
    assert settled(sandbox, 2) == [None, 401]
    sandbox.webhooks.send_to(None)


def test_the_target_is_set_and_shown_by_the_control_routes(upstream: str, gateway: Gateway, sandbox: Sandbox) -> None:
    path, target = f"{upstream}/_sandbox/webhooks", {"url": f"{gateway.url}/webhooks/gochat", "authorization": SECRET}
    with httpx.Client(trust_env=False) as client:
        assert client.get(path).json() == {"target": None, "waiting": 0, "posted": []}
        assert client.put(path, json=target).status_code == 204
        change_of_unknown = client.put(f"{upstream}/_sandbox/threads/nowhere", json={})
        assert change_of_unknown.status_code == 404
        assert client.put(f"{upstream}/_sandbox/threads/th-1", json=[]).status_code == 422
        assert client.put(f"{upstream}/_sandbox/threads/th-1", json={"status": 2}).status_code == 204
        assert settled(sandbox, 1) == [204]
        shown = client.get(path).json()
        assert SECRET not in str(shown)
        assert shown["target"]["url"] == target["url"]
        assert [each["status"] for each in shown["posted"]] == [204]
        assert client.delete(path).status_code == 204
        assert client.get(path).json()["target"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "http://a"},
        {"copies": 11},
        {"copies": -1},
        {"delay": -1},
        {"reorder": 0},
        {"url": "ftp://a"},
        {"x": 1},
    ],
)
def test_a_wrong_target_is_refused(upstream: str, wrong: dict[str, Any]) -> None:
    body = {"url": "http://127.0.0.1:1/", "authorization": SECRET, **wrong} if wrong.keys() - {"url"} else wrong
    answer = httpx.put(f"{upstream}/_sandbox/webhooks", json=body, trust_env=False)
    assert answer.status_code == 422
    assert "error" in answer.json()
