"""Rate limits per caller, in memory and in Redis."""

import base64
import json
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.auth.gcra import build_rate
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.settings import Settings
from gateway.storage.shared import Shared, shared_by
from gateway.telemetry import Counts
from tests.auth.conftest import THREAD, ask
from tests.auth.issuer import Issuer, eventually
from tests.harness import Clock, Gateway, StartGateway, settings
from tests.upstream.redis_server import RedisServer
from tests.web.streams.responses import EVENTS, events_of, streamed
from tests.web.streams.sockets import begun

SECRET = "a secret of sixteen characters"
WATCH = 'subscription { threadUpdated(id: "th-1") { id } }'


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    with RedisServer("a password") as running:
        yield running


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    _server.flush()
    return _server


@pytest.fixture(params=["memory", "redis"])
def stored(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings for where rates are stored."""
    if request.param == "memory":
        return {}
    return {"cache_url": request.getfixturevalue("server").url, "cache_secret": SECRET, "cache_timeout": "5"}


def statuses(gateway: Gateway, count: int, **headers: str) -> list[int]:
    return [ask(gateway, **headers).status_code for _ in range(count)]


def test_a_caller_over_the_limit_gets_a_retry_after(start: StartGateway, stored: dict[str, str]) -> None:
    gateway = start(rate_limit="3/hour", **stored)
    first = ask(gateway)
    assert first.headers["ratelimit-policy"] == '"caller";q=3;w=3600'
    assert first.headers["ratelimit"].startswith('"caller";r=2;t=')
    assert statuses(gateway, 3) == [200, 200, 429]
    refused = ask(gateway)
    (error,) = refused.json()["errors"]
    assert error["message"] == "Too many operations for this caller."
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] == int(refused.headers["retry-after"])
    assert 1 <= int(refused.headers["retry-after"]) <= 1200
    assert refused.headers["ratelimit"].startswith('"caller";r=0;t=')


async def test_a_limit_is_remembered_however_many_others_call() -> None:
    """Who invents names, or has many addresses, must not make it forget."""
    rate = build_rate("rate_limit", "1/hour", Shared())
    for name in ("first", *map(str, range(5000))):
        standing = await rate.take(name)
        assert standing is not None
        assert standing.allowed
    again = await rate.take("first")
    assert again is not None
    assert not again.allowed


def test_a_rejected_operation_makes_no_rest_call(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(rate_limit="1/hour")
    assert statuses(gateway, 5) == [200, 429, 429, 429, 429]
    assert sandbox.count("thread") == 1


def test_the_limit_recovers_over_time(start: StartGateway, stored: dict[str, str]) -> None:
    gateway = start(rate_limit="5/second", **stored)
    assert 429 in statuses(gateway, 50)
    eventually(lambda: ask(gateway).status_code == 200)


def test_each_caller_has_its_own_limit(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(rate_limit="2/hour")
    alice, again, bob = issuer.token(), issuer.token(jti="another"), issuer.token(sub="bob")
    assert [ask(gateway, token).status_code for token in (alice, again, alice, bob, bob, bob)] == [
        200, 200, 429, 200, 200, 429,
    ]  # fmt: skip


def test_in_passthrough_mode_each_credential_has_its_own_limit(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="1/hour")
    for token in (sandbox.accounts.issue(USERNAME, PASSWORD)["access_token"] for _ in range(2)):
        assert statuses(gateway, 2, authorization=f"Bearer {token}") == [200, 429]


def test_every_spelling_of_a_credential_is_the_same_caller(start: StartGateway) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="1/hour")
    encoded = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    bare = encoded.rstrip("=")
    spellings = [f"Basic {encoded}", f"basic {encoded}", f"BASIC   {encoded}", f"Basic {bare}", f"Basic {bare}======"]
    assert [ask(gateway, authorization=each).status_code for each in spellings] == [200, 429, 429, 429, 429]


def invented_credentials(gateway: Gateway, count: int, **headers: str) -> list[int]:
    tokens = (secrets.token_hex() for _ in range(count))
    return [ask(gateway, token, **headers).status_code for token in tokens]


def login(sandbox: Sandbox) -> str:
    return str(sandbox.accounts.issue(USERNAME, PASSWORD)["access_token"])


def test_unverified_credentials_are_counted_by_address(
    start: StartGateway, sandbox: Sandbox, stored: dict[str, str]
) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="3/day", trusted_proxies="127.0.0.1", **stored)
    known, unknown = login(sandbox), login(sandbox)
    assert ask(gateway, known).status_code == 200
    assert invented_credentials(gateway, 5) == [200, 200, 200, 429, 429]
    assert sandbox.count("thread") == 4
    refused = ask(gateway, unknown)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert error["extensions"]["retryAfter"] == int(refused.headers["retry-after"])
    assert ask(gateway, known).status_code == 200, "a verified credential is accepted from a blocked address"
    assert error["message"] == "Too many requests of callers that the REST API does not know."
    assert invented_credentials(gateway, 2, x_forwarded_for="192.0.2.1") == [200, 200]
    assert ask(gateway, unknown, x_forwarded_for="192.0.2.1").status_code == 200


def test_many_verified_callers_may_share_an_address(start: StartGateway, sandbox: Sandbox) -> None:
    """Such as behind a router: the first response of the REST API verifies the caller's credential."""
    gateway = start(upstream_identity="passthrough", rate_limit="2/day")
    assert [statuses(gateway, 3, authorization=f"Bearer {login(sandbox)}") for _ in range(5)] == [[200, 200, 429]] * 5


@pytest.mark.parametrize(
    "request_of",
    [
        {"json": {"query": "{ __typename }"}},
        {"json": {"query": "{ nothing }"}},
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"json": [{"query": "{ __typename }"}] * 2},
    ],
    ids=["no REST call", "not valid", "not JSON", "a batch"],
)
def test_an_operation_without_a_rest_call_verifies_no_credential(
    start: StartGateway, request_of: dict[str, Any]
) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="2/day", max_batch=2)
    answers = []
    for number in range(3):
        headers = {**request_of.get("headers", {}), "authorization": f"Bearer {number}"}
        answers.append(gateway.http.post("/graphql", **{**request_of, "headers": headers}).status_code)
    assert [status == 429 for status in answers] == [False, isinstance(request_of.get("json"), list), True]


def test_an_unverified_client_that_disconnects_is_counted(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="1/day")
    sandbox.faults.add(Fault("thread", times=1, hold="first"))
    body = json.dumps({"query": THREAD})
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
        client.sendall(f"{head}content-type: application/json\r\n\r\n{body}".encode())
        sandbox.wait_for_calls(1, "thread")
    sandbox.wait_until_idle()
    assert invented_credentials(gateway, 1) == [429]


def test_operations_of_event_streams_and_sockets_of_unverified_clients_are_counted(start: StartGateway) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="2/day")
    assert invented_credentials(gateway, 3, accept="text/event-stream") == [200, 200, 429]
    gateway = start(upstream_identity="passthrough", rate_limit="2/day")
    for number in range(2):
        with begun(gateway, {"authorization": f"Bearer {number}"}) as client:
            assert client.result("1", THREAD)["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert invented_credentials(gateway, 1) == [429]


def test_a_subscription_verifies_its_caller_or_counts_once(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="3/day")
    known = login(sandbox)

    def results(token: str) -> Iterator[Any]:
        with streamed(gateway, WATCH, {**EVENTS, "authorization": f"Bearer {token}"}) as response:
            yield from (each.data for each in events_of(response) if each.type == "next")

    assert next(results(known)) == {"data": {"threadUpdated": {"id": "th-1"}}}
    (refused,) = results("unknown")
    assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert invented_credentials(gateway, 3) == [200, 200, 429]
    assert ask(gateway, known).status_code == 200


def test_unverified_clients_may_try_again_after_the_wait(start: StartGateway, sandbox: Sandbox) -> None:
    clock = Clock()
    gateway = start(upstream_identity="passthrough", rate_limit="2/day", timing=clock.timing)
    assert invented_credentials(gateway, 3) == [200, 200, 429]
    clock.now += 43_201
    assert statuses(gateway, 3, authorization=f"Bearer {login(sandbox)}") == [200, 200, 429]


def test_unverified_clients_are_blocked_for_the_whole_of_a_short_wait(start: StartGateway) -> None:
    gateway = start(upstream_identity="passthrough", rate_limit="2/second", timing=Clock().timing)
    assert invented_credentials(gateway, 6) == [200, 200, 429, 429, 429, 429]


def test_rejected_requests_do_not_use_up_a_callers_limit(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(rate_limit="1/hour")
    assert statuses(gateway, 5) == [401] * 5
    assert ask(gateway, issuer.token()).status_code == 200


def test_each_operation_of_a_batch_counts(start: StartGateway, stored: dict[str, str]) -> None:
    gateway = start(rate_limit="6/hour", max_batch=10, **stored)

    def batch(size: int) -> httpx.Response:
        return gateway.http.post("/graphql", json=[{"query": THREAD}] * size)

    assert batch(4).headers["ratelimit"].startswith('"caller";r=2;')
    assert batch(4).status_code == 429
    assert ask(gateway).status_code in {200, 429}


@pytest.mark.parametrize("size", [3, 4, 10])
def test_a_batch_of_the_limit_or_more_uses_up_the_limit(start: StartGateway, stored: dict[str, str], size: int) -> None:
    gateway = start(rate_limit="3/hour", max_batch=10, **stored)
    answer = gateway.http.post("/graphql", json=[{"query": THREAD}] * size)
    assert answer.status_code == 200
    assert answer.headers["ratelimit"].startswith('"caller";r=0;')
    assert ask(gateway).status_code == 429


@pytest.mark.parametrize(("limit", "asked", "size", "hours"), [("4/day", 2, 3, 12), ("2/day", 1, 5, 24)])
def test_the_retry_after_of_a_batch_allows_for_all_its_operations(
    start: StartGateway, limit: str, asked: int, size: int, hours: int
) -> None:
    """Its first operation has been counted, and counts again when the batch is repeated."""
    gateway = start(rate_limit=limit, max_batch=5)
    assert statuses(gateway, asked) == [200] * asked
    refused = gateway.http.post("/graphql", json=[{"query": THREAD}] * size)
    assert refused.status_code == 429
    assert round(int(refused.headers["retry-after"]) / 3600) == hours
    assert len(refused.headers.get_list("ratelimit")) == 1


def test_incremental_responses_have_rate_limit_headers_too(start: StartGateway) -> None:
    gateway = start({"accept": "multipart/mixed, application/json"}, rate_limit="9/hour", incremental=True)
    document = '{ thread(id: "th-1") { id ... @defer { messages { totalCount } } } }'
    response = gateway.http.post("/graphql", json={"query": document})
    assert response.headers["content-type"].startswith("multipart/mixed")
    assert response.headers["ratelimit"].startswith('"caller";r=8;')


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"json": {"query": THREAD}, "headers": {"gateway-timeout": "soon"}}, 400),
        ({"json": {"query": "{ x" + " " * 2_000_000}}, 413),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ({"json": [{"query": THREAD}] * 9}, 400),
    ],
)
def test_a_request_that_is_rejected_later_has_rate_limit_headers_too(
    start: StartGateway, request_of: dict[str, Any], status: int
) -> None:
    gateway = start(rate_limit="5/hour", max_batch=4)
    response = gateway.http.post("/graphql", **request_of)
    assert response.status_code == status
    assert response.headers["ratelimit-policy"] == '"caller";q=5;w=3600'
    assert response.headers["ratelimit"].startswith('"caller";r=4;')


def test_an_unauthenticated_response_has_no_rate_limit_headers(start_with_tokens: StartGateway) -> None:
    assert not [name for name in ask(start_with_tokens(rate_limit="5/hour")).headers if name.startswith("ratelimit")]


def test_without_a_limit_there_are_no_rate_limit_headers(start: StartGateway) -> None:
    assert not [name for name in ask(start()).headers if name.startswith("ratelimit")]


def test_gateways_at_the_same_redis_share_the_limit(start: StartGateway, server: RedisServer) -> None:
    shared = {"rate_limit": "3/hour", "cache_url": server.url, "cache_secret": SECRET, "cache_timeout": 5}
    one, other = start(**shared), start(**shared)
    assert [*statuses(one, 2), *statuses(other, 2), *statuses(one, 1)] == [200, 200, 200, 429, 429]


async def test_while_redis_is_down_there_is_no_limit() -> None:
    counts, clock = Counts(), Clock()
    with RedisServer() as server:
        shared = _shared(server, cache_timeout=0.2)
        rate = build_rate("rate_limit", "1/hour", shared_by(shared.cache, clock.timing, counts))
        assert [each and each.allowed for each in [await rate.take("a"), await rate.take("a")]] == [True, False]
        server.freeze()
        assert await rate.take("a") is None
        assert await rate.take("a") is None
        assert counts["redis_failures: rate"] == 1, "Redis is not tried again during the pause"
        server.thaw()
        clock.now += 2
        standing = await rate.take("a")
        assert standing is not None
        assert not standing.allowed, "the counts from before are used again"
        server.stop()
        assert await rate.take("a") is None
        server.start()
        clock.now += 2
        assert await rate.take("a") is not None
        await rate.aclose()


def _shared(server: RedisServer, cache_timeout: float) -> Settings:
    return settings(cache_url=server.url, cache_secret=SECRET, cache_timeout=cache_timeout)


def test_the_address_is_the_sockets_unless_a_trusted_proxy_forwards_another(start: StartGateway) -> None:
    """Only the address that the proxy added counts: the client wrote those before it."""
    forwarded = {"x_forwarded_for": "203.0.113.9, 198.51.100.7"}
    spoofed = {"x_forwarded_for": "203.0.113.10, 198.51.100.7"}
    other = {"x_forwarded_for": "198.51.100.8"}
    gateway = start(rate_limit="2/hour", trusted_proxies="10.0.0.0/8, 127.0.0.1")
    assert [ask(gateway, **each).status_code for each in (forwarded, spoofed, forwarded, other)] == [200, 200, 429, 200]
    gateway = start(rate_limit="2/hour", trusted_proxies="10.0.0.0/8")
    assert [ask(gateway, **each).status_code for each in (forwarded, spoofed, other)] == [200, 200, 429]
    gateway = start(rate_limit="2/hour")
    assert [ask(gateway, **each).status_code for each in (forwarded, spoofed, other)] == [200, 200, 429]


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
def test_a_proxy_is_trusted_on_a_dual_stack_socket(start: StartGateway, trusted: str) -> None:
    """An IPv4 address is ``::ffff:127.0.0.1`` there, also in the header of a second proxy."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    gateway = start(rate_limit="1/hour", trusted_proxies=trusted, host="::")
    assert gateway.url.startswith("http://127.0.0.1:")
    chains = ("192.0.2.1", "192.0.2.2", "192.0.2.2, ::ffff:127.0.0.1", "192.0.2.3, ::ffff:127.0.0.1")
    assert [ask(gateway, x_forwarded_for=each).status_code for each in chains] == [200, 200, 429, 200]
    url = gateway.url.replace("127.0.0.1", "[::1]") + "/graphql"
    spoofed = [{"x-forwarded-for": each} for each in ("192.0.2.4", "192.0.2.5")]
    answers = [gateway.http.post(url, json={"query": THREAD}, headers=each).status_code for each in spoofed]
    assert answers == [200, 429], "that address is not a trusted proxy"
    url = start(rate_limit="1/hour", trusted_proxies="::1", host="::").url.replace("127.0.0.1", "[::1]") + "/graphql"
    answers = [gateway.http.post(url, json={"query": THREAD}, headers=each).status_code for each in spoofed]
    assert answers == [200, 200], "now it is"


def test_addresses_of_one_ipv6_network_are_one_client(start: StartGateway) -> None:
    gateway = start(rate_limit="1/hour", trusted_proxies="127.0.0.1")
    addresses = ("2001:db8::1", "2001:db8::2:0:0:1", "2001:db8:0:1::1")
    assert [ask(gateway, x_forwarded_for=each).status_code for each in addresses] == [200, 429, 200]


def test_wrong_credentials_are_limited_by_the_forwarded_address(
    start_with_tokens: StartGateway,
) -> None:
    gateway = start_with_tokens(auth_failure_limit="1/hour", trusted_proxies="127.0.0.0/8")
    tries = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
    assert [ask(gateway, "wrong", x_forwarded_for=each).status_code for each in tries] == [401, 429, 401]


def test_a_caller_that_is_verified_here_is_not_limited_by_its_address(
    start_with_tokens: StartGateway, issuer: Issuer
) -> None:
    """Also while none of its operations has made a REST call."""
    gateway = start_with_tokens(rate_limit="2/hour")
    for name in ("alice", "bob", "carol"):
        token = {"authorization": f"Bearer {issuer.token(sub=name)}"}
        answers = [gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers=token) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429], name
