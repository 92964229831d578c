"""Whose credentials go upstream, and that no login that is known to be wrong is ever repeated."""

import asyncio
import base64
import json
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.auth import Viewer
from gateway.errors import ConfigurationError, GatewayError, Unauthenticated, UpstreamUnavailable
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.server.serve import serve
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_request
from gateway.upstream.stack import build_client
from gateway.upstream.transports.http import HttpTransport
from tests.harness import SERVICE, Clock, Gateway, StartGateway, settings

QUERY = '{ thread(id: "th-1") { id } }'
TIMEOUT = httpx.Timeout(60)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def token_client(upstream: str, clock: Clock, *, password: str = PASSWORD, pause: float = 900) -> UpstreamClient:
    connections = HttpTransport(2**20)
    login = TokenLogin(
        connections, token_request(upstream + "/api/v1/token", USERNAME, password, TIMEOUT, 60), pause, clock
    )
    return UpstreamClient(TokenAccount(connections, login, USERNAME, clock), upstream, TIMEOUT)


def basic_client(upstream: str, clock: Clock, *, password: str = PASSWORD, pause: float = 900) -> UpstreamClient:
    guard = BasicLoginGuard(HttpTransport(2**20), pause, clock)
    return UpstreamClient(BasicAccount(guard, USERNAME, password), upstream, TIMEOUT)


async def ask(client: UpstreamClient, viewer: Viewer | None = None) -> bytes | None:
    deadline = asyncio.get_running_loop().time() + 60
    return await client.thread(CallContext(viewer or Viewer(None), deadline), "th-100")


async def outcomes(calls: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# passthrough


def test_the_callers_header_goes_upstream_as_it_came(start: StartGateway, sandbox: Sandbox) -> None:
    authorization = basic(USERNAME, PASSWORD)
    gateway = start({"authorization": authorization}, upstream_identity="passthrough")
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    assert [(call.route, call.headers["authorization"]) for call in sandbox.calls] == [("thread", authorization)]


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}])
def test_a_call_without_credentials_goes_nowhere(
    start: StartGateway, sandbox: Sandbox, headers: dict[str, str]
) -> None:
    response = start(headers, upstream_identity="passthrough").http.post("/graphql", json={"query": QUERY})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert sandbox.count() == 0


def test_credentials_that_no_header_can_carry_are_refused(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough")
    response = gateway.http.post("/graphql", json={"query": QUERY}, headers=[(b"authorization", b"Bearer \xff\xfe")])
    assert response.status_code == 401
    assert sandbox.count() == 0


def test_one_query_for_many_threads_with_a_wrong_password_is_one_login(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start({"authorization": basic(USERNAME, "mistyped")}, upstream_identity="passthrough")
    ids = [f"th-{number}" for number in range(100, 200)]
    answer = gateway.query("query ($ids: [ID!]!) { threads(ids: $ids) { id } }", ids=ids)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"UNAUTHENTICATED"}
    assert len(answer["errors"]) == 100
    assert sandbox.count() == sandbox.accounts.wrong_logins() == 1


async def test_a_wrong_password_in_many_spellings_is_one_login(upstream: str, sandbox: Sandbox) -> None:
    right = basic(USERNAME, "mistyped").removeprefix("Basic ")
    credentials = right.rstrip("=")
    headers = [f"Basic {right}", f"basic {credentials}", f"BASIC  {credentials}", f"Basic {credentials}===="]
    async with UpstreamClient(BasicLoginGuard(HttpTransport(2**20)), upstream, TIMEOUT) as client:
        answers = await outcomes([ask(client, Viewer(header)) for header in headers])
    assert [type(answer) for answer in answers] == [Unauthenticated] * 4
    assert sandbox.count() == 1


def test_a_caller_who_corrects_the_password_is_served_at_once(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough")
    for password, code in (("wrong", "UNAUTHENTICATED"), (PASSWORD, None), ("wrong", "UNAUTHENTICATED")):
        response = gateway.http.post(
            "/graphql", json={"query": QUERY}, headers={"authorization": basic(USERNAME, password)}
        ).json()
        assert [error["extensions"]["code"] for error in response.get("errors", [])] == ([code] if code else [])
    assert sandbox.count() == 3, "callers' own credentials are tried anew by each operation"


def test_a_cached_answer_is_no_proof_of_a_password(start: StartGateway, sandbox: Sandbox) -> None:
    """It was changed upstream since: the answer in the cache is of before that."""
    headers = {"authorization": basic(USERNAME, PASSWORD)}
    gateway = start(headers, upstream_identity="passthrough", cache_url="memory://", cache_ttl_thread=300)
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    sandbox.faults.add(Fault("thread", status=401))
    ids = ["th-1", *(f"th-{number}" for number in range(100, 150))]
    document = "query ($ids: [ID!]!) { threads(ids: $ids) { id } }"
    gateway.query(document, ids=ids)
    sandbox.clear()
    answer = gateway.query(document, ids=ids)
    assert answer["data"]["threads"][0] == {"id": "th-1"}
    assert sandbox.count() == 1


def test_two_callers_never_wait_for_each_others_verdict(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough")
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="first"))
    with ThreadPoolExecutor() as pool:
        headers = {"authorization": basic(USERNAME, PASSWORD)}
        held = pool.submit(gateway.http.post, "/graphql", json={"query": QUERY}, headers=headers)
        sandbox.wait_for_calls(1)
        other = gateway.http.post("/graphql", json={"query": QUERY}, headers={"authorization": "Bearer other"})
        assert other.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        sandbox.release("first")
        assert held.result().json()["data"] == {"thread": {"id": "th-1"}}


# service mode: tokens


async def test_the_token_is_fetched_once_for_any_number_of_calls(upstream: str, sandbox: Sandbox) -> None:
    async with token_client(upstream, Clock()) as client:
        answers = await outcomes([ask(client) for _ in range(200)])
    assert all(isinstance(each, bytes) for each in answers)
    assert sandbox.count("token") == 1


async def test_a_token_is_renewed_before_its_hour_is_over(upstream: str, sandbox: Sandbox) -> None:
    sandbox.accounts.announce_expiry = False
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        clock.now += 3500
        await ask(client)
        assert sandbox.count("token") == 1
        clock.now += 45  # 55 seconds are left: renewed behind the scenes, the old one still serves
        await ask(client)
        await asyncio.to_thread(sandbox.wait_for_calls, 2, "token")
        clock.now += 56
        await ask(client)
    assert sandbox.count("token") == 2
    assert len({call.headers["authorization"] for call in sandbox.calls if call.route == "thread"}) == 2


@pytest.mark.parametrize("lifetime", [10, 100, 7200])
async def test_expires_in_counts_where_it_is_given(upstream: str, sandbox: Sandbox, lifetime: float) -> None:
    sandbox.accounts.token_lifetime = lifetime
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        clock.now += lifetime * 0.89
        await ask(client)
        assert sandbox.count("token") == 1
        clock.now += lifetime * 0.12
        await ask(client)
    assert sandbox.count("token") == 2


async def test_a_401_renews_the_token_once_and_repeats_the_call(upstream: str, sandbox: Sandbox) -> None:
    async with token_client(upstream, Clock()) as client:
        await ask(client)
        sandbox.accounts.revoke_tokens()
        answers = await outcomes([ask(client) for _ in range(50)])
    assert all(isinstance(each, bytes) for each in answers)
    assert sandbox.count("token") == 2


async def test_a_401_that_a_new_token_does_not_cure_is_told_and_not_tried_again(
    upstream: str, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("thread", status=401))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await ask(client)
        assert sandbox.count("token") == 2
        clock.now += 61
        sandbox.faults.clear()
        assert await ask(client) is not None


async def test_ten_thousand_calls_with_a_wrong_password_are_one_login(upstream: str, sandbox: Sandbox) -> None:
    clock = Clock()
    async with token_client(upstream, clock, password="wrong") as client:
        answers = await outcomes([ask(client) for _ in range(10_000)])
        assert all(isinstance(each, Unauthenticated) for each in answers)
        assert sandbox.count() == sandbox.count("token") == 1
        clock.now += 899
        (late,) = await outcomes([ask(client)])
        assert late.retry_after == 1
        assert sandbox.count() == 1
        clock.now += 1
        await outcomes([ask(client) for _ in range(10)])
    assert sandbox.count("token") == 2, "after the pause it is tried once more"


async def test_a_renewal_that_is_rejected_stops_all_logins_and_the_old_token_serves_its_time(
    upstream: str, sandbox: Sandbox
) -> None:
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        sandbox.faults.add(Fault("token", status=401))
        clock.now += 3550
        for _ in range(5):
            assert await ask(client) is not None
        await asyncio.to_thread(sandbox.wait_until_idle)
        clock.now += 60
        answers = await outcomes([ask(client) for _ in range(5)])
    assert all(isinstance(each, Unauthenticated) for each in answers)
    assert sandbox.count("token") == 2


async def test_a_login_that_fails_otherwise_is_not_held_against_the_password(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", times=1, status=503), Fault("token", times=1, body=b'{"token": "x"}'))
    async with token_client(upstream, Clock()) as client:
        errors = [(await outcomes([ask(client)]))[0] for _ in range(2)]
        assert [each.code for each in errors] == ["UPSTREAM_UNAVAILABLE", "UPSTREAM_INVALID_RESPONSE"]
        assert await ask(client) is not None


async def test_a_caller_who_leaves_does_not_take_the_login_away_from_the_others(
    upstream: str, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("token", hold="login"))
    async with token_client(upstream, Clock()) as client:
        leaver, stayer = asyncio.create_task(ask(client)), asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1, "token")
        leaver.cancel()
        sandbox.release("login")
        assert await stayer is not None
        with pytest.raises(asyncio.CancelledError):
            await leaver
    assert sandbox.count("token") == 1


# service mode: Basic


async def test_basic_credentials_are_proven_by_one_call_before_the_others_follow(
    upstream: str, sandbox: Sandbox
) -> None:
    async with basic_client(upstream, Clock(), password="wrong") as client:
        answers = await outcomes([ask(client) for _ in range(10_000)])
    assert all(isinstance(each, Unauthenticated) for each in answers)
    assert sandbox.count() == sandbox.accounts.wrong_logins() == 1


async def test_a_rejected_basic_login_is_remembered_for_the_pause(upstream: str, sandbox: Sandbox) -> None:
    clock = Clock()
    async with basic_client(upstream, clock, password="wrong", pause=60) as client:
        for _ in range(3):
            await outcomes([ask(client)])
        assert sandbox.count() == 1
        clock.now += 61
        await outcomes([ask(client)])
    assert sandbox.count() == 2


async def test_a_trial_that_fails_on_the_way_lets_the_next_one_try(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, drop="before"))
    async with basic_client(upstream, Clock()) as client:
        answers = await outcomes([ask(client) for _ in range(20)])
    assert [type(each) for each in answers if not isinstance(each, bytes)] == [UpstreamUnavailable]
    assert sandbox.count() == 20


async def test_a_trial_whose_caller_leaves_lets_the_next_one_try(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, hold="trial"))
    async with basic_client(upstream, Clock()) as client:
        leaver, stayer = asyncio.create_task(ask(client)), asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        leaver.cancel()
        assert await stayer is not None
        await outcomes([leaver])


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_service_mode_serves_callers_without_credentials(start: StartGateway, sandbox: Sandbox, auth: str) -> None:
    gateway = start({"authorization": "Bearer callers-own"}, upstream_auth=auth)
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    assert "callers-own" not in {call.headers.get("authorization") for call in sandbox.calls}


def test_service_mode_with_an_open_door_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_INBOUND_AUTH is not set"):
        serve(settings(**{**SERVICE, "inbound_auth": None}), {})


def test_a_wrong_service_password_is_said_clearly(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_password="wrong-one")
    for _ in range(3):
        answer = gateway.query(QUERY)
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert error["extensions"]["retryAfter"] > 890
        assert "gateway's own account" in error["message"]
    assert sandbox.count() == 1


# no route but the one that is meant


@pytest.mark.parametrize(
    ("identifier", "path"),
    [
        ("../customers/x", "/api/v1/thread/..%2Fcustomers%2Fx"),
        ("a/b", "/api/v1/thread/a%2Fb"),
        ("a?b", "/api/v1/thread/a%3Fb"),
        ("a#b", "/api/v1/thread/a%23b"),
        ("%2e%2e", "/api/v1/thread/%252e%252e"),
        ("a b\r\nx: y", "/api/v1/thread/a%20b%0D%0Ax%3A%20y"),
        ("...", "/api/v1/thread/..."),
        ("a\\b;c|d'e", "/api/v1/thread/a%5Cb%3Bc%7Cd%27e"),
        ("ünï", "/api/v1/thread/%C3%BCn%C3%AF"),
        ("\x00", "/api/v1/thread/%00"),
    ],
)
def test_an_id_reaches_its_route_and_no_other(gateway: Gateway, sandbox: Sandbox, identifier: str, path: str) -> None:
    assert gateway.data("query ($id: ID!) { thread(id: $id) { id } }", id=identifier) == {"thread": None}
    assert sandbox.calls[-1].path == path
    assert sandbox.calls[-1].route == "thread"


@pytest.mark.parametrize("identifier", ["", ".", "..", "x" * 1025, "\ud800"])
def test_an_id_that_no_path_can_carry_is_refused(gateway: Gateway, sandbox: Sandbox, identifier: str) -> None:
    document = """query ($id: ID!) {
      thread(id: $id) { id } customer(externalId: $id) { id }
    }"""
    body = '{"query": %s, "variables": {"id": %s}}'
    response = gateway.http.post(
        "/graphql",
        content=body % (json.dumps(document), json.dumps(identifier)),
        headers={"content-type": "application/json"},
    )
    codes = {error["extensions"]["code"] for error in response.json()["errors"]}
    assert codes == {"BAD_USER_INPUT"}
    assert sandbox.count() == 0


# every failure of the HTTP client is one of ours


def _all_subclasses(kind: type[Exception]) -> set[type[Exception]]:
    found = {kind}
    for each in kind.__subclasses__():
        found |= _all_subclasses(each)
    return found


def _name(kind: object) -> str:
    assert isinstance(kind, type)
    return kind.__name__


CLIENT_EXCEPTIONS: set[type[Exception]] = {
    httpx.InvalidURL,
    TimeoutError,
    *_all_subclasses(httpx.HTTPError),
    *_all_subclasses(httpx.StreamError),
}


@pytest.mark.parametrize("kind", sorted(CLIENT_EXCEPTIONS, key=_name), ids=_name)
async def test_every_exception_of_the_http_client_becomes_ours(kind: type[Exception]) -> None:
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise _make(kind, request)

    client = UpstreamClient(Failing(), "http://x", TIMEOUT)
    with pytest.raises(GatewayError) as caught:
        await ask(client)
    timeout = issubclass(kind, (httpx.TimeoutException, TimeoutError))
    assert (caught.value.code == "UPSTREAM_TIMEOUT") is timeout


def _make(kind: type[Exception], request: httpx.Request) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        return kind("m", request=request, response=httpx.Response(500))
    wants_message = not issubclass(kind, httpx.StreamError) or kind is httpx.StreamError
    return kind("m") if wants_message else kind()


def test_clients_are_built_for_every_mode() -> None:
    for overrides in ({"upstream_identity": "passthrough"}, {"upstream_auth": "basic"}, {"upstream_auth": "token"}):
        assert isinstance(build_client(settings(**{**SERVICE, **overrides})), UpstreamClient)
