"""Token authentication upstream: one login for many calls, and no login that is known to be wrong is repeated."""

import asyncio
import math

import pytest
from hypothesis import example, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from gateway.auth import Viewer
from gateway.errors import Unauthenticated, UpstreamUnavailable
from gateway.http1 import ReadTimedOut, Response
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.upstream.call import RestRequest
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import CREATE_CHAT_TOKEN, TOKEN
from gateway.upstream.credentials.token import TokenAccount, TokenLogin, token_lifetime, token_request
from tests.harness import Clock, StartGateway, connections, rest_response
from tests.selection import PROPERTY_CASES
from tests.upstream.logins import QUERY, ask, ask_customer, outcomes, token_client


async def test_the_token_is_fetched_once_for_any_number_of_calls(upstream: str, sandbox: Sandbox) -> None:
    async with token_client(upstream, Clock()) as client:
        answers = await outcomes([ask(client) for _ in range(200)])
    assert all(isinstance(each, bytes) for each in answers)
    assert sandbox.count("token") == 1


async def test_a_token_is_renewed_before_it_expires(upstream: str, sandbox: Sandbox) -> None:
    sandbox.accounts.announce_expiry = False
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        clock.now += 3500
        await ask(client)
        assert sandbox.count("token") == 1
        clock.now += 45  # 55 seconds are left: renewed in the background, the old token is still used
        await ask(client)
        await asyncio.to_thread(sandbox.wait_for_calls, 2, "token")
        clock.now += 56
        await ask(client)
    assert sandbox.count("token") == 2
    assert len({call.headers["authorization"] for call in sandbox.calls if call.route == "thread"}) == 2


@pytest.mark.parametrize("lifetime", [10, 100, 7200])
async def test_expires_in_is_used_if_present(upstream: str, sandbox: Sandbox, lifetime: float) -> None:
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


@pytest.mark.parametrize("expires_in", [10**309 - 1, "1e400", "9" * 400, -1, 0, "nan", "soon", True, [60], None])
async def test_an_expires_in_that_is_no_lifetime_counts_as_an_hour(
    upstream: str, sandbox: Sandbox, expires_in: object
) -> None:
    sandbox.faults.add(Fault("token", patch={"expires_in": expires_in}))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        clock.now += 3500
        await ask(client)
        assert sandbox.count("token") == 1
        clock.now += 101
        await ask(client)
    assert sandbox.count("token") == 2


@given(expires_in=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
@example(expires_in=10**309)
@example(expires_in=-(10**309))
@given_settings(max_examples=PROPERTY_CASES, deadline=None)
def test_any_expires_in_is_a_lifetime(expires_in: object) -> None:
    assert 0 < token_lifetime(expires_in) < math.inf


async def test_a_401_renews_the_token_once_and_repeats_the_call(upstream: str, sandbox: Sandbox) -> None:
    async with token_client(upstream, Clock()) as client:
        await ask(client)
        sandbox.accounts.revoke_tokens()
        answers = await outcomes([ask(client) for _ in range(50)])
    assert all(isinstance(each, bytes) for each in answers)
    assert sandbox.count("token") == 2


async def test_a_401_with_a_new_token_is_returned_and_not_repeated(upstream: str, sandbox: Sandbox) -> None:
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


async def test_a_route_without_rights_leaves_the_renewal_to_the_other_routes(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("customer", status=401))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        with pytest.raises(Unauthenticated):
            await ask_customer(client)
        assert sandbox.count("token") == 2
        sandbox.accounts.revoke_tokens()
        assert await ask(client) is not None
        assert sandbox.count("token") == 3


async def test_routes_without_rights_do_not_renew_the_token_for_each_other(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("customer", status=401), Fault("thread", status=401))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        for _ in range(10):
            await outcomes([ask_customer(client), ask(client)])
        logins = sandbox.count("token")
        assert logins <= 3
        clock.now += 61
        await outcomes([ask_customer(client)])
        assert sandbox.count("token") == logins + 1


async def write(client: UpstreamClient) -> int:
    deadline = asyncio.get_running_loop().time() + 60
    return (await client.post(CallContext(Viewer(None), deadline), CREATE_CHAT_TOKEN, "", b"{}")).status


async def test_a_write_without_rights_renews_the_token_once_a_minute(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("chat_token", status=401))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        for seconds, logins in ((0, 2), (59, 2), (1, 3)):
            clock.now += seconds
            assert await write(client) == 401
            assert sandbox.count("token") == logins


class OneLogin:
    """A REST API that gives one token and refuses every call; a later login raises ``later``."""

    def __init__(self, later: Exception) -> None:
        self.later = later
        self.logins = 0

    async def send(self, request: RestRequest) -> Response:
        if request.route is not TOKEN:
            return rest_response(401)
        self.logins += 1
        if self.logins > 1:
            raise self.later
        return rest_response(json={"access_token": "x"})

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("later", [UpstreamUnavailable(), ReadTimedOut(), TimeoutError()], ids=repr)
async def test_a_refused_write_is_answered_though_the_login_after_it_fails(later: Exception) -> None:
    api = OneLogin(later)
    login = TokenLogin(api, token_request(USERNAME, PASSWORD, 60), 900)
    async with UpstreamClient(TokenAccount(api, login, USERNAME)) as client:
        assert await write(client) == 401
    assert api.logins == 2


@pytest.mark.slow  # ten thousand calls
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
    assert sandbox.count("token") == 2, "after the pause there is one more login"


async def test_a_rejected_renewal_stops_all_logins_and_the_old_token_is_used_until_it_expires(
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


async def test_a_login_that_fails_for_another_reason_is_tried_again(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", times=1, status=503), Fault("token", times=1, body=b'{"token": "x"}'))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        for code in ("UPSTREAM_UNAVAILABLE", "UPSTREAM_INVALID_RESPONSE"):
            (error,) = await outcomes([ask(client)])
            assert error.code == code
            clock.now += error.retry_after
        assert await ask(client) is not None


async def test_a_login_that_is_not_answered_ends_at_its_deadline(upstream: str, sandbox: Sandbox) -> None:
    """Also where the REST API may take longer to answer one request."""
    sandbox.faults.add(Fault("token", hold="for ever"))
    sockets = connections(upstream)
    login = TokenLogin(sockets, token_request(USERNAME, PASSWORD, 0.3), 900)
    with pytest.raises(TimeoutError):
        await login.token()
    with pytest.raises(UpstreamUnavailable):
        await login.token()
    await sockets.aclose()


async def test_a_cancelled_call_does_not_cancel_the_login_for_the_others(upstream: str, sandbox: Sandbox) -> None:
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


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_service_mode_serves_callers_without_credentials(start: StartGateway, sandbox: Sandbox, auth: str) -> None:
    gateway = start({"authorization": "Bearer callers-own"}, upstream_auth=auth)
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    assert "callers-own" not in {call.headers.get("authorization") for call in sandbox.calls}


def test_a_wrong_password_of_the_gateway_is_reported_clearly(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_password="wrong-one")
    for _ in range(3):
        answer = gateway.query(QUERY)
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert error["extensions"]["retryAfter"] > 890
        assert "gateway's own account" in error["message"]
    assert sandbox.count() == 1
