"""The webhook over HTTP: who may send one, what it purges, and when it is refused."""

import json
import logging
import socket
import tracemalloc
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import generate_latest
from redis import Redis

from gateway.app import create_app
from gateway.check import check
from gateway.sandbox import BackgroundServer, Sandbox
from gateway.server.config import gateway_config
from gateway.web.webhook.endpoint import MAX_REMEMBERED, OwnMemory
from tests.harness import SERVICE, Gateway, StartGateway, settings
from tests.programs import until
from tests.upstream.redis_server import RedisServer

PATH = "/webhooks/gochat"
SECRET = "Bearer of the webhook"
QUERY = "query ($id: ID!) { thread(id: $id) { id status } }"
SHARED = {"cache_secret": "sixteen or more letters", "cache_timeout": 5}


def event(data: Any, **fields: Any) -> dict[str, Any]:
    body = {"event_code": "thread_updated", "event_date": "2023-07-03T11:59:46Z", "event_source": "web", "data": data}
    return {**body, **fields}


def post(gateway: Gateway, body: Any, authorization: str | None = SECRET) -> httpx.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.http.post(PATH, content=content, headers=headers)


def is_purged(gateway: Gateway, sandbox: Sandbox, body: Any, *idents: str, others: tuple[str, ...] = ()) -> bool:
    """Return whether an event purges what it names, and nothing else."""
    for ident in (*idents, *others):
        sandbox.store.put_thread({"id": ident, "status": "old"})
        assert gateway.data(QUERY, id=ident)["thread"]["status"] == "old"
        sandbox.store.put_thread({"id": ident, "status": "new"})
    assert post(gateway, body).status_code == 204
    until(lambda: all(gateway.data(QUERY, id=each)["thread"]["status"] == "new" for each in idents), "it is purged")
    return all(gateway.data(QUERY, id=each)["thread"]["status"] == "old" for each in others)


@pytest.fixture
def hooked(start: StartGateway) -> Gateway:
    return start(cache_url="memory://", cache_ttl_thread=600, webhook_authorization=SECRET)


def test_without_a_secret_there_is_no_webhook(gateway: Gateway) -> None:
    assert post(gateway, event({"thread_id": "th-1"})).status_code == 404


@pytest.mark.parametrize("wrong", [None, "", "Bearer", SECRET + "x", SECRET.lower(), "Bearer \u00f6f"])
def test_a_wrong_authorization_is_refused(hooked: Gateway, wrong: str | None) -> None:
    headers = [] if wrong is None else [(b"authorization", wrong.encode("latin-1"))]
    assert hooked.http.post(PATH, content=b"{}", headers=headers).status_code == 401


def test_a_wrong_authorization_is_refused_before_the_body_arrives(hooked: Gateway) -> None:
    address = urlsplit(hooked.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_two_secrets_are_accepted_while_one_is_replaced(start: StartGateway) -> None:
    gateway = start(webhook_authorization="new", webhook_authorization_previous="old")
    answers = [post(gateway, event({"thread_id": "th-1"}), each).status_code for each in ("new", "old", "older")]
    assert answers == [204, 204, 401]


def test_a_network_of_ipv4_addresses_is_known_on_a_dual_stack_socket(start: StartGateway) -> None:
    """An IPv4 address is ``::ffff:127.0.0.1`` there."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    for networks, status in (("127.0.0.0/8", 204), ("10.0.0.0/8", 403)):
        gateway = start(webhook_authorization=SECRET, webhook_networks=networks, host="::")
        assert post(gateway, event({"thread_id": "th-1"})).status_code == status


def test_only_the_networks_that_are_named_may_send(start: StartGateway) -> None:
    elsewhere = start(webhook_authorization=SECRET, webhook_networks="192.0.2.0/24, 2001:db8::/32")
    assert post(elsewhere, event({"thread_id": "th-1"})).status_code == 403
    here = start(webhook_authorization=SECRET, webhook_networks="127.0.0.0/8")
    assert post(here, event({"thread_id": "th-1"})).status_code == 204


def test_a_webhook_is_a_post_of_at_most_256_kib(hooked: Gateway) -> None:
    response = hooked.http.get(PATH, headers={"authorization": SECRET})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    large = event({"thread_id": "th-1", "comment": "x" * 256 * 1024})
    assert post(hooked, large).status_code == 413


def test_an_event_purges_the_thread_that_it_names_and_no_other(hooked: Gateway, sandbox: Sandbox) -> None:
    assert is_purged(hooked, sandbox, event({"thread_id": "a"}), "a", others=("b",))


def test_an_event_of_an_unknown_shape_purges_everything(hooked: Gateway, sandbox: Sandbox) -> None:
    assert is_purged(hooked, sandbox, event({"conversation": "a"}), "a", "b")


def test_an_event_with_more_than_a_hundred_ids_purges_everything(hooked: Gateway, sandbox: Sandbox) -> None:
    assert is_purged(hooked, sandbox, event({"thread_ids": [f"x{number}" for number in range(101)]}), "a", "b")


def test_a_duplicate_is_dropped(hooked: Gateway, sandbox: Sandbox) -> None:
    body = event({"thread_id": "a"}, event_id="29")
    assert is_purged(hooked, sandbox, body, "a")
    sandbox.store.put_thread({"id": "a", "status": "newer"})
    assert post(hooked, body).status_code == 204
    assert hooked.data(QUERY, id="a")["thread"]["status"] == "new"
    later = event({"thread_id": "a"}, event_id="29", event_date="2023-07-03T11:59:47Z")
    assert post(hooked, later).status_code == 204
    assert hooked.data(QUERY, id="a")["thread"]["status"] == "newer"


def test_each_unknown_shape_is_logged_once_without_values(hooked: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for secret in ("alpha", "beta"):
            assert post(hooked, event({"conversation": {"title": secret, f"{secret} key": 1}})).status_code == 204
        assert post(hooked, b"no JSON").status_code == 204
    logged = [record.__dict__["fields"]["shape"] for record in caplog.records if "not understood" in record.message]
    assert logged[0][:4] == ("data", "data.conversation", "data.conversation.*", "data.conversation.title")
    assert len(logged) == 2
    assert "alpha" not in caplog.text + str(logged)


def test_a_flood_is_slowed_down(start: StartGateway) -> None:
    gateway = start(webhook_authorization=SECRET, webhook_purge_rate="3/hour")
    assert post(gateway, event({"thread_ids": ["a", "b", "c"]})).status_code == 204
    refused = post(gateway, event({"thread_id": "d"}, event_id="1"))
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)


def test_without_redis_an_event_is_refused_and_not_remembered(
    start: StartGateway, sandbox: Sandbox, redis: RedisServer
) -> None:
    gateway = start(cache_url=redis.url, cache_ttl_thread=600, webhook_authorization=SECRET, **SHARED)
    body = event({"thread_id": "a"}, event_id="29")
    redis.kill()
    refused = post(gateway, body)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    redis.start()
    until(lambda: post(gateway, body).status_code == 204, "Redis takes the event")
    assert is_purged(gateway, sandbox, event({"thread_id": "a"}), "a")


def test_an_event_reaches_every_gateway_at_the_same_redis(
    start: StartGateway, sandbox: Sandbox, redis: RedisServer
) -> None:
    shared = {"cache_url": redis.url, "cache_ttl_thread": 600, "webhook_authorization": SECRET, **SHARED}
    one, other = start(**shared), start(**shared)
    sandbox.store.put_thread({"id": "a", "status": "old"})
    assert other.data(QUERY, id="a")["thread"]["status"] == "old"
    sandbox.store.put_thread({"id": "a", "status": "new"})
    assert post(one, event({"thread_id": "a"}, event_id="1")).status_code == 204
    assert other.data(QUERY, id="a")["thread"]["status"] == "new"
    assert post(other, event({"thread_id": "a"}, event_id="1")).status_code == 204, "it is a duplicate there too"


@pytest.mark.slow  # 150,000 events
async def test_the_memory_of_duplicates_is_bounded() -> None:
    """Without Redis. The event that was taken first is forgotten first, also where its duplicate came meanwhile."""
    memory = OwnMemory()
    names = [f"event:{number:032x}" for number in range(MAX_REMEMBERED + 50_000)]
    tracemalloc.start()
    for name in names[:MAX_REMEMBERED]:
        await memory.add(name)
    full, _ = tracemalloc.get_traced_memory()
    assert [await memory.has(name) for name in (names[0], names[1], names[MAX_REMEMBERED - 1])] == [True] * 3
    await memory.add(names[MAX_REMEMBERED])
    assert [await memory.has(name) for name in (names[0], names[1], names[MAX_REMEMBERED])] == [False, True, True]
    for name in names[MAX_REMEMBERED:]:
        await memory.add(name)
    later, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    remembered = [await memory.has(name) for name in names]
    assert remembered == [False] * 50_000 + [True] * MAX_REMEMBERED
    assert later < 1.1 * full < 30_000_000


def test_a_duplicate_is_known_for_72_hours(start: StartGateway, redis: RedisServer) -> None:
    gateway = start(cache_url=redis.url, webhook_authorization=SECRET, **SHARED)
    assert post(gateway, event({"thread_id": "a"}, event_id="29")).status_code == 204
    with Redis.from_url(redis.url) as client:
        (name,) = client.keys("*event:*")
        assert 71.9 * 3600 < client.ttl(name) <= 72 * 3600


def test_check_reports_the_shapes_that_were_not_understood(
    start: StartGateway, redis: RedisServer, upstream: str
) -> None:
    chosen = {"cache_url": redis.url, "webhook_authorization": SECRET, **SHARED}
    gateway = start(**chosen)
    for title in ("alpha", "beta", "gamma"):
        assert post(gateway, event({"conversation": {"title": title}})).status_code == 204
    found = [each.text for each in check(settings(**{"upstream_url": upstream, **SERVICE, **chosen}))]
    (line,) = (text for text in found if "not understood" in text)
    assert line.startswith("3 of the last events that were not understood (thread_updated)")
    assert "data.conversation.title" in line
    assert "alpha" not in line


def test_the_last_thousand_events_that_were_not_understood_are_kept(start: StartGateway, redis: RedisServer) -> None:
    gateway = start(cache_url=redis.url, webhook_authorization=SECRET, **SHARED)
    assert post(gateway, event({"first": 1})).status_code == 204
    with Redis.from_url(redis.url) as client:
        (name,) = client.keys("*not-understood*")
        (entry,) = client.lrange(name, 0, -1)
        client.lpush(name, *([entry] * 1500))
        assert post(gateway, event({"last": 1})).status_code == 204
        assert client.llen(name) == 1000
        assert b"data.last" in client.lrange(name, 0, 0)[0]


OUTCOMES = [
    *(("taken", 2), ("duplicate", 3), ("unknown", 4)),
    *(("method", 1), ("network", 0), ("authorization", 2), ("too large", 1), ("rate", 0), ("bus", 0)),
]


def test_metrics_say_what_became_of_webhooks_and_events(upstream: str) -> None:
    chosen = settings(**{"upstream_url": upstream, **SERVICE, "webhook_authorization": SECRET, "metrics_port": 0})
    app = create_app(chosen)
    with BackgroundServer(gateway_config(app)) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        gateway = Gateway(http, server.url)
        for ident in ("1", "2", "1", "1", "2"):
            post(gateway, event({"thread_id": "a"}, event_id=ident))
        for body in ({}, {}, {}, {}, event({"thread_id": "a", "comment": "x" * 256 * 1024})):
            post(gateway, body)
        for _ in range(2):
            post(gateway, {}, "wrong")
        http.get(PATH, headers={"authorization": SECRET})
    text = generate_latest(app.state.metrics.registry).decode()
    for outcome, number in OUTCOMES:
        assert f'gochat_gateway_webhooks_total{{outcome="{outcome}"}} {number}.0' in text
    assert "gochat_gateway_events_applied_total 6.0" in text
    assert 'gochat_gateway_event_gaps_total{reason="redis"} 0.0' in text


@pytest.mark.parametrize("client", [("", 0), ("/run/gateway.sock", 0)])
async def test_without_an_address_no_network_is_known(upstream: str, client: tuple[str, int]) -> None:
    chosen = {"upstream_url": upstream, **SERVICE, "webhook_authorization": SECRET, "webhook_networks": "0.0.0.0/0"}
    transport = httpx.ASGITransport(create_app(settings(**chosen)), client=client)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        response = await http.post(PATH, json=event({"thread_id": "a"}), headers={"authorization": SECRET})
    assert response.status_code == 403


LARGE = event({"thread_id": "a", "comment": "x" * 256 * 1024})
NO_REDIS = {"cache_url": "redis://127.0.0.1:1", **SHARED}
REFUSALS: list[tuple[str, int, str, dict[str, Any], tuple[str, str | None, Any]]] = [
    ("method", 405, "Webhooks are sent with POST.", {}, ("GET", SECRET, {})),
    ("network", 403, "This address may not send webhooks.", {"webhook_networks": "192.0.2.1"}, ("POST", SECRET, {})),
    ("authorization", 401, "The header Authorization is wrong.", {}, ("POST", None, {})),
    ("too large", 413, "The request's body is larger than 262144 bytes.", {}, ("POST", SECRET, LARGE)),
    ("rate", 503, "Too many events.", {"webhook_purge_rate": "1/hour"}, ("POST", SECRET, event({"thread_id": 1}))),
    ("bus", 503, "The event cannot be passed on at the moment.", NO_REDIS, ("POST", SECRET, event({"thread_id": 1}))),
]


@pytest.mark.parametrize(("outcome", "status", "message", "chosen", "sent"), REFUSALS, ids=lambda each: str(each)[:9])
def test_a_refusal_says_why_and_is_counted(
    upstream: str, outcome: str, status: int, message: str, chosen: dict[str, Any], sent: tuple[str, str | None, Any]
) -> None:
    given = {"upstream_url": upstream, **SERVICE, "webhook_authorization": SECRET, "metrics_port": 0, **chosen}
    app = create_app(settings(**given))
    method, authorization, body = sent
    headers = {} if authorization is None else {"authorization": authorization}
    with BackgroundServer(gateway_config(app)) as server:
        for _ in range(2):
            response = httpx.request(method, server.url + PATH, json=body, headers=headers, trust_env=False)
    assert (response.status_code, response.json()) == (status, {"error": message})
    counted = app.state.metrics.registry.get_sample_value("gochat_gateway_webhooks_total", {"outcome": outcome})
    assert counted == (1 if outcome == "rate" else 2)
