"""A failed login is remembered: a thousand operations make one post, and each gets an error that says what failed."""

import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError, UpstreamFailure
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.storage.memory import MemoryStore
from gateway.upstream.credentials.failed_login import FailedLogin, pause_after
from gateway.upstream.credentials.login_lock import GatewayLoginLock, LoginLock, NestedLoginLock
from gateway.upstream.credentials.token import TokenLogin, token_request
from gateway.upstream.credentials.worker_lock import WorkerLoginLock, WorkersMemory
from tests.harness import SERVICE, Clock, StartGateway, connections
from tests.upstream.logins import QUERY, ask, outcomes, token_client

HTML = "<html><body>Please log in</body></html>"
ERRORS = '{"errors": [{"code": "login_failed", "message": "no"}]}'


def answer(status: int, body: str | None = None, retry_after: str | None = None) -> dict[str, Any]:
    return {"status": status, "body": body, "headers": {} if retry_after is None else {"retry-after": retry_after}}


@pytest.mark.slow  # a thousand operations
@pytest.mark.parametrize(
    ("fault", "code", "seconds"),
    [
        (answer(429, retry_after="30"), "RATE_LIMITED", 30),
        (answer(429), "RATE_LIMITED", 1),
        (answer(429, retry_after="0"), "RATE_LIMITED", 1),
        (answer(429, retry_after="99999999"), "RATE_LIMITED", 86400),
        (answer(429, retry_after="Tue, 14 Nov 2023 22:14:20 GMT"), "RATE_LIMITED", 60),
        (answer(423), "UNAUTHENTICATED", 900),
        (answer(422, retry_after="1"), "UNAUTHENTICATED", 900),
        (answer(404), "UPSTREAM_ERROR", 60),
        (answer(409), "UPSTREAM_ERROR", 60),
        (answer(302, HTML), "UPSTREAM_ERROR", 60),
        (answer(204, ""), "UPSTREAM_ERROR", 60),
        (answer(200, ERRORS), "UPSTREAM_INVALID_RESPONSE", 60),
        (answer(200, HTML, retry_after="5"), "UPSTREAM_INVALID_RESPONSE", 5),
        (answer(408), "UPSTREAM_UNAVAILABLE", 1),
        (answer(500), "UPSTREAM_ERROR", 1),
        (answer(503, HTML), "UPSTREAM_UNAVAILABLE", 1),
        (answer(503, retry_after="120"), "UPSTREAM_UNAVAILABLE", 120),
        ({"drop": "before"}, "UPSTREAM_UNAVAILABLE", 1),
        ({"drop": "mid-body"}, "UPSTREAM_UNAVAILABLE", 1),
    ],
)
async def test_a_thousand_operations_after_a_failed_login_make_one_post(
    upstream: str, sandbox: Sandbox, fault: dict[str, Any], code: str, seconds: float
) -> None:
    sandbox.faults.add(Fault("token", **fault))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await outcomes([ask(client) for _ in range(10)])
        for _ in range(1000):
            (error,) = await outcomes([ask(client)])
            assert (error.code, error.retry_after) == (code, seconds)
        assert sandbox.count() == sandbox.count("token") == 1
        clock.now += seconds
        await outcomes([ask(client) for _ in range(10)])
        assert sandbox.count("token") == 2


async def test_the_pause_doubles_until_a_login_succeeds(upstream: str, sandbox: Sandbox) -> None:
    sandbox.accounts.token_lifetime = 100
    sandbox.faults.add(
        Fault("token", status=503, times=6), Fault("token", patch={}, times=1), Fault("token", status=503)
    )
    clock = Clock()

    async def pauses(number: int) -> list[float | None]:
        seen = []
        for _ in range(number):
            (error,) = await outcomes([ask(client)])
            assert isinstance(error, GatewayError)
            (again,) = await outcomes([ask(client)])
            seen.append(again.retry_after)
            clock.now += again.retry_after
        return seen

    async with token_client(upstream, clock, pause=20) as client:
        assert await pauses(6) == [1, 2, 4, 8, 16, 20]
        assert await ask(client) is not None
        clock.now += 101
        assert await pauses(2) == [1, 2]
    assert sandbox.count("token") == 9


def test_the_pause_is_bounded_after_any_number_of_failures() -> None:
    assert pause_after(None, None, 10**9, 900) == 900


@pytest.mark.parametrize(
    ("status", "code", "pause"),
    [
        (None, "UPSTREAM_UNAVAILABLE", 1),
        (200, "UPSTREAM_INVALID_RESPONSE", 60),
        (401, "UNAUTHENTICATED", 900),
        (404, "UPSTREAM_ERROR", 60),
        (408, "UPSTREAM_UNAVAILABLE", 1),
        (409, "UPSTREAM_ERROR", 60),
        (429, "RATE_LIMITED", 1),
        (500, "UPSTREAM_ERROR", 1),
        (504, "UPSTREAM_UNAVAILABLE", 1),
    ],
)
def test_what_failed_decides_the_error_and_the_pause(status: int | None, code: str, pause: float) -> None:
    error = FailedLogin(1, status).error()
    assert (error.code, error.upstream) == (code, None if status is None else UpstreamFailure(status))
    assert pause_after(status, None, 1, 900) == pause


@pytest.mark.parametrize(("asked", "longest", "pause"), [(None, 0.2, 0.2), (1, 900, 900), (1000, 900, 1000)])
def test_a_rejection_is_remembered_for_the_whole_pause_or_longer_if_asked(
    asked: float | None, longest: float, pause: float
) -> None:
    assert pause_after(401, asked, 1, longest) == pause


async def test_a_failed_login_says_how_much_of_its_pause_is_left(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", drop="before"))
    clock = Clock()
    async with token_client(upstream, clock) as client:
        for pause in (1, 2, 4):
            (first,) = await outcomes([ask(client)])
            clock.now += 0.5 * pause
            (later,) = await outcomes([ask(client)])
            assert (first.code, later.code) == ("UPSTREAM_UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
            assert later.retry_after == max(1, 0.5 * pause)
            clock.now += 0.5 * pause


async def test_a_failed_renewal_is_remembered_while_the_old_token_is_used(upstream: str, sandbox: Sandbox) -> None:
    clock = Clock()
    async with token_client(upstream, clock) as client:
        await ask(client)
        sandbox.faults.add(Fault("token", **answer(429, retry_after="30")))
        clock.now += 3550
        for _ in range(100):
            assert await ask(client) is not None
            await asyncio.to_thread(sandbox.wait_until_idle)
        assert sandbox.count("token") == 2
        sandbox.faults.clear()
        clock.now += 31
        await ask(client)
        await asyncio.to_thread(sandbox.wait_for_calls, 3, "token")


async def test_a_revoked_token_is_not_renewed_during_the_pause(upstream: str, sandbox: Sandbox) -> None:
    async with token_client(upstream, Clock()) as client:
        await ask(client)
        sandbox.accounts.revoke_tokens()
        sandbox.faults.add(Fault("token", status=404))
        codes = {error.code for error in await outcomes([ask(client) for _ in range(100)])}
        codes |= {(await outcomes([ask(client)]))[0].code for _ in range(10)}
    assert codes == {"UPSTREAM_ERROR"}
    assert sandbox.count("token") == 2


def test_a_failed_login_that_is_no_rejection_leaves_the_gateway_ready(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", **answer(429, retry_after="60")))
    gateway = start(**SERVICE)
    for _ in range(20):
        assert gateway.code(QUERY) == "RATE_LIMITED"
    assert sandbox.count("token") == 1
    assert gateway.http.get("/ready").json()["checks"]["account"] == "ok"


# shared with other processes


@pytest.fixture(params=["workers", "gateways"])
def locks(request: pytest.FixtureRequest, clock: Clock) -> tuple[LoginLock, LoginLock, LoginLock]:
    """Two locks of the same account, and one of another account."""
    memory, store = WorkersMemory(), MemoryStore(2**20, clock)

    def lock(account: str) -> LoginLock:
        if request.param == "workers":
            return WorkerLoginLock(memory, account)
        return GatewayLoginLock(store, account, 15, clock.timing)

    return lock("account"), lock("account"), lock("other")


async def test_a_failed_login_counts_in_the_other_processes(locks: tuple[LoginLock, LoginLock, LoginLock]) -> None:
    first, second, other = locks
    async with first.attempt() as attempt:
        assert (attempt.failed, attempt.failures) == (None, 0)
        await attempt.fail(FailedLogin(60, 429, 3))
    async with second.attempt() as attempt:
        assert attempt.failed is not None
        assert (attempt.failed.status, attempt.failed.in_a_row, attempt.failed.rejected) == (429, 3, False)
        assert 59 < attempt.failed.seconds <= 60
    async with other.attempt() as attempt:
        assert (attempt.failed, attempt.failures) == (None, 0)


async def test_the_doubling_counts_in_the_other_processes_until_a_login_succeeds(
    locks: tuple[LoginLock, LoginLock, LoginLock], clock: Clock
) -> None:
    first, second, _ = locks
    async with first.attempt() as attempt:
        await attempt.fail(FailedLogin(1e-9, None, 5))
    clock.now += 1
    async with second.attempt() as attempt:
        assert (attempt.failed, attempt.failures) == (None, 5)
    clock.now += 1
    async with first.attempt() as attempt:
        assert attempt.failures == 5, "an attempt that ends without a result changes nothing"
        await attempt.succeed()
    clock.now += 1
    async with second.attempt() as attempt:
        assert (attempt.failed, attempt.failures) == (None, 0)


async def test_a_login_without_a_response_is_none_in_the_other_processes_to_its_last_moment(
    locks: tuple[LoginLock, LoginLock, LoginLock],
) -> None:
    first, second, _ = locks
    async with first.attempt() as attempt:
        await attempt.fail(FailedLogin(0.9, None, 1))
    async with second.attempt() as attempt:
        assert attempt.failed is not None
        assert attempt.failed.status is None


def test_the_workers_hash_an_account_with_a_secret_that_stays() -> None:
    memory = WorkersMemory()
    hashed = memory.hashed("account")
    assert hashed != WorkersMemory().hashed("account")
    memory.save(hashed, FailedLogin(60, 401, 1))
    assert memory.hashed("account") == hashed


async def test_of_nested_locks_each_is_acquired_until_one_knows_of_a_failure(clock: Clock) -> None:
    stores = [MemoryStore(2**20, clock) for _ in range(2)]
    locks = [GatewayLoginLock(store, "account", 15, clock.timing) for store in stores]

    async def entries() -> list[bool]:
        return [(await store.get(["login:account"])) != [None] for store in stores]

    async with NestedLoginLock(locks).attempt() as attempt:
        assert attempt.failed is None
        assert await entries() == [True, True]
    clock.now += 1
    assert await entries() == [False, False]
    await locks[0].tell(FailedLogin(60, 429, 2))
    async with NestedLoginLock(locks).attempt() as attempt:
        assert (attempt.failed and attempt.failed.in_a_row, attempt.failures) == (2, 0)
        assert await entries() == [True, False]


async def test_a_login_that_succeeds_ends_the_doubling_of_all_processes(
    upstream: str, sandbox: Sandbox, clock: Clock
) -> None:
    store, sockets = MemoryStore(2**20, clock), connections(upstream)
    logins = []
    for _ in range(2):
        request = token_request(USERNAME, PASSWORD, 60)
        lock = GatewayLoginLock(store, "account", 15, clock.timing)
        logins.append(TokenLogin(sockets, request, 900, clock, lock, now=clock))
    first, second = logins

    async def pause(login: TokenLogin) -> float | None:
        with pytest.raises(GatewayError) as caught:
            await login.token()
        clock.now += caught.value.retry_after or 0
        return caught.value.retry_after

    sandbox.faults.add(Fault("token", status=503, times=3))
    assert [await pause(first) for _ in range(3)] == [1, 2, 4]
    await first.token()
    clock.now += 1
    sandbox.faults.add(Fault("token", status=503))
    assert await pause(second) == 1
    await sockets.aclose()


def test_the_error_of_a_failed_login_says_what_the_rest_api_responded(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("token", status=423, body=ERRORS))
    (error,) = start(**SERVICE).query(QUERY)["errors"]
    assert error["extensions"]["upstream"] == {"status": 423, "codes": ["login_failed"]}
