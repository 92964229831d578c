"""Basic authentication upstream: a wrong password is one wrong login, however many calls use it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.auth import Viewer
from gateway.errors import Unauthenticated, UpstreamUnavailable
from gateway.sandbox import PASSWORD, USERNAME, Fault, Sandbox
from gateway.storage.memory import MemoryStore
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials.basic import BasicAccount, BasicLoginGuard
from gateway.upstream.credentials.login_lock import GatewayLoginLock
from gateway.upstream.credentials.worker_lock import WorkersMemory
from tests.harness import SERVICE, Clock, StartGateway, build_client, build_upstream, connections, settings
from tests.upstream.cached import basic
from tests.upstream.logins import QUERY, ask, basic_client, outcomes
from tests.upstream.redis_server import RedisServer

# the callers' own credentials


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
    async with UpstreamClient(BasicLoginGuard(connections(upstream))) as client:
        answers = await outcomes([ask(client, Viewer(header)) for header in headers])
    assert [type(answer) for answer in answers] == [Unauthenticated] * 4
    assert sandbox.count() == 1


async def test_a_wrong_password_of_one_caller_rejects_no_other_who_waits(upstream: str) -> None:
    async with UpstreamClient(BasicLoginGuard(connections(upstream))) as client:
        callers = [Viewer(basic(USERNAME, password)) for password in ("wrong", PASSWORD)]
        refused, answer = await outcomes([ask(client, viewer) for viewer in callers])
    assert isinstance(refused, Unauthenticated)
    assert isinstance(answer, bytes)


def test_a_caller_who_corrects_the_password_is_served_at_once(start: StartGateway, sandbox: Sandbox) -> None:
    gateway = start(upstream_identity="passthrough")
    for password, code in (("wrong", "UNAUTHENTICATED"), (PASSWORD, None), ("wrong", "UNAUTHENTICATED")):
        response = gateway.http.post(
            "/graphql", json={"query": QUERY}, headers={"authorization": basic(USERNAME, password)}
        ).json()
        assert [error["extensions"]["code"] for error in response.get("errors", [])] == ([code] if code else [])
    assert sandbox.count() == 3, "each operation tries a caller's own credentials again"


def test_a_cached_response_does_not_prove_a_password(start: StartGateway, sandbox: Sandbox) -> None:
    """The password may have changed upstream after the response was cached."""
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


def test_callers_do_not_wait_for_the_trial_of_other_credentials(start: StartGateway, sandbox: Sandbox) -> None:
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


# a password that changes while calls wait for a slot


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("service", [True, False])
async def test_calls_that_wait_for_a_slot_are_not_sent_after_a_401(
    upstream: str, sandbox: Sandbox, service: bool, slots: int
) -> None:
    mode = {**SERVICE, "upstream_auth": "basic"} if service else {"upstream_identity": "passthrough"}
    chosen = settings(**mode, upstream_url=upstream, upstream_max_concurrency=slots, operation_timeout=60)
    viewer = Viewer(None if service else basic(USERNAME, PASSWORD))
    async with build_client(chosen) as client:
        assert await ask(client, viewer) is not None
        sandbox.faults.add(Fault("thread", status=401, hold="changed"))
        calls = [asyncio.create_task(ask(client, viewer, f"th-{number}")) for number in range(300)]
        await asyncio.to_thread(sandbox.wait_for_calls, 1 + slots)
        sandbox.release("changed")
        answers = await outcomes(calls)
        assert [type(each) for each in answers] == [Unauthenticated] * 300
        assert {each.upstream.status for each in answers} == {401}
        assert sum(each.retry_after == 900 for each in answers) == (300 - slots if service else 0)
        assert sandbox.count() == 1 + slots
        await outcomes([ask(client, viewer, f"th-{number}") for number in range(300)])
        assert sandbox.count() == 1 + slots + (0 if service else 1), "a caller's new calls try one at a time"
        if not service:
            sandbox.faults.clear()
            assert await ask(client, viewer) is not None


async def test_a_retry_is_not_sent_after_a_401(upstream: str, sandbox: Sandbox) -> None:
    clock = Clock()
    chosen = settings(upstream_identity="passthrough", upstream_url=upstream, operation_timeout=60)
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await wake.wait()

    viewer = Viewer(basic(USERNAME, PASSWORD))
    async with build_client(chosen, timing=replace(clock.timing, sleep=sleep)) as client:
        assert await ask(client, viewer) is not None
        sandbox.faults.add(Fault("thread", "th-101", status=503), Fault("thread", status=401))
        retried = asyncio.create_task(ask(client, viewer, "th-101"))
        await asleep.wait()
        await outcomes([ask(client, viewer)])
        wake.set()
        (answer,) = await outcomes([retried])
    assert isinstance(answer, Unauthenticated)
    assert sandbox.count() == 3


# the gateway's own account


@pytest.mark.slow  # ten thousand calls
async def test_one_call_tries_the_credentials_before_the_others_are_sent(upstream: str, sandbox: Sandbox) -> None:
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


@pytest.mark.parametrize(("pause", "retry_after"), [(0, None), (60, 60)])
async def test_the_error_of_calls_that_are_not_sent_says_what_the_rest_api_said(
    upstream: str, pause: float, retry_after: float | None
) -> None:
    async with basic_client(upstream, Clock(), password="wrong", pause=pause) as client:
        _, *waited = await outcomes([ask(client) for _ in range(5)])
        errors = waited + (await outcomes([ask(client)]) if pause else [])
    assert {(each.upstream.status, each.retry_after) for each in errors} == {(401, retry_after)}


async def test_after_a_trial_without_a_result_the_next_call_tries(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, drop="before"))
    async with basic_client(upstream, Clock()) as client:
        answers = await outcomes([ask(client) for _ in range(20)])
    assert [type(each) for each in answers if not isinstance(each, bytes)] == [UpstreamUnavailable]
    assert sandbox.count() == 20


async def test_after_a_cancelled_trial_the_next_call_tries(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, hold="trial"))
    async with basic_client(upstream, Clock()) as client:
        leaver, stayer = asyncio.create_task(ask(client)), asyncio.create_task(ask(client))
        await asyncio.to_thread(sandbox.wait_for_calls, 1)
        leaver.cancel()
        assert await stayer is not None
        await outcomes([leaver])


async def test_a_401_after_the_password_was_accepted_counts_in_the_other_processes(
    upstream: str, sandbox: Sandbox, clock: Clock, redis: RedisServer | None
) -> None:
    """Workers look for it before each call, gateways at one Redis once a second."""
    memory = WorkersMemory() if redis is None else None
    shared = (
        {} if redis is None else {"cache_url": redis.url, "cache_secret": "a secret of the tests", "cache_timeout": 5}
    )
    chosen = settings(**{**SERVICE, **shared, "upstream_auth": "basic", "upstream_url": upstream})
    first, second = (build_upstream(chosen, timing=clock.timing, workers=memory) for _ in range(2))
    async with first.client, second.client:
        assert await ask(first.client, thread="th-100") is not None
        assert await ask(second.client, thread="th-101") is not None
        sandbox.faults.add(Fault("thread", status=401))
        assert [type(each) for each in await outcomes([ask(first.client, thread="th-102")])] == [Unauthenticated]
        clock.now += 1
        answers = await outcomes([ask(second.client, thread=f"th-{number}") for number in range(103, 113)])
        assert [type(each) for each in answers] == [Unauthenticated] * 10
        assert second.account.rejected()
    assert sandbox.count() == 3, "the second one did not try"


async def test_only_a_rejection_is_shared_with_other_processes(upstream: str, clock: Clock) -> None:
    store = MemoryStore(2**20, clock)
    lock = GatewayLoginLock(store, "account", 15, clock.timing)
    guard = BasicLoginGuard(connections(upstream), 900, clock, lock)
    async with UpstreamClient(BasicAccount(guard, USERNAME, PASSWORD)) as client:
        for _ in range(3):
            assert await ask(client) is not None
            clock.now += 2  # the lock looks into the store once a second
            assert await lock.failed() is None
