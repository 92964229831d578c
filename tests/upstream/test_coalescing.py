"""Identical calls at the same time are one, and a cancelled caller does not affect the others."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.auth import Viewer
from gateway.errors import UpstreamError, UpstreamTimeout
from gateway.sandbox import Accounts, Fault, Sandbox
from gateway.schema.resolvers.cooperative import Pace
from gateway.schema.resolvers.loaders import Intake, Loaders
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import THREAD
from tests.harness import Gateway, StartGateway, build_client, settings

USERS = {f"user{number}@sandbox.example": f"password-{number}" for number in range(5)}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts(USERS), echo_caller=True)


@pytest.fixture
async def client(upstream: str) -> AsyncIterator[UpstreamClient]:
    async with build_client(settings(upstream_url=upstream, upstream_identity="passthrough")) as built:
        yield built


def viewers(sandbox: Sandbox) -> list[Viewer]:
    """Return a viewer for each user, each with its own token."""
    return [Viewer(f"Bearer {sandbox.accounts.issue(*user)['access_token']}") for user in USERS.items()]


async def ask(client: UpstreamClient, viewer: Viewer, seconds: float = 20) -> Any:
    deadline = asyncio.get_running_loop().time() + seconds
    body = await client.thread(CallContext(viewer, deadline), "th-1")
    assert body is not None
    return json.loads(body)


async def test_identical_calls_are_one_call_per_credential(client: UpstreamClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="all"))
    callers = viewers(sandbox)
    waiting = [asyncio.create_task(ask(client, viewer)) for _ in range(100) for viewer in callers]
    await asyncio.to_thread(sandbox.wait_for_calls, 5, "thread")
    sandbox.release("all")
    answers = await asyncio.gather(*waiting)
    assert sandbox.count("thread") == len(callers)
    for number, answer in enumerate(answers):
        assert f"caller:{list(USERS)[number % len(USERS)]}" in answer["tags"]


async def test_a_shared_call_is_retried_for_all_that_share_it(client: UpstreamClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, status=503, hold="first"))
    (viewer, *_) = viewers(sandbox)
    waiting = [asyncio.create_task(ask(client, viewer)) for _ in range(3)]
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    sandbox.release("first")
    assert [each["id"] for each in await asyncio.gather(*waiting)] == ["th-1"] * 3
    assert sandbox.count("thread") == 2


async def test_a_call_that_must_be_fresh_joins_none_that_began_before(client: UpstreamClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, hold="early"))
    viewer = viewers(sandbox)[0]
    early = asyncio.create_task(ask(client, viewer))
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    deadline = asyncio.get_running_loop().time() + 20
    assert await client.thread(CallContext(viewer, deadline, fresh=True), "th-1") is not None
    assert not early.done()
    assert sandbox.count("thread") == 2
    sandbox.release("early")
    await early


async def test_a_failure_reaches_all_that_share_the_call_and_is_not_cached(
    client: UpstreamClient, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("thread", times=1, status=500, hold="one"))
    viewer = viewers(sandbox)[0]
    waiting = [asyncio.create_task(ask(client, viewer)) for _ in range(10)]
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    sandbox.release("one")
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, UpstreamError) for outcome in outcomes)
    assert (await ask(client, viewer))["id"] == "th-1"
    assert sandbox.count("thread") == 2


async def test_a_cancelled_caller_does_not_affect_the_others(client: UpstreamClient, sandbox: Sandbox) -> None:
    """Not even the first caller, whose call the others share."""
    sandbox.faults.add(Fault("thread", times=1, hold="one"))
    viewer = viewers(sandbox)[0]
    first, second, third = (asyncio.create_task(ask(client, viewer)) for _ in range(3))
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    first.cancel()
    third.cancel()
    sandbox.release("one")
    assert (await second)["id"] == "th-1"
    assert sandbox.count("thread") == 1
    await asyncio.gather(first, third, return_exceptions=True)


async def test_a_call_without_waiting_callers_is_cancelled(client: UpstreamClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, hold="for ever"))
    viewer = viewers(sandbox)[0]
    waiting = [asyncio.create_task(ask(client, viewer)) for _ in range(3)]
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.to_thread(sandbox.wait_until_idle)
    assert [call.cancelled for call in sandbox.calls] == [True]
    assert (await ask(client, viewer))["id"] == "th-1", "a later call starts a new request"


async def test_the_shared_call_runs_until_the_latest_deadline(client: UpstreamClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", times=1, hold="one"))
    viewer = viewers(sandbox)[0]
    hurried = asyncio.create_task(ask(client, viewer, seconds=0.2))
    await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
    patient = asyncio.create_task(ask(client, viewer))
    with pytest.raises(UpstreamTimeout):
        await hurried
    sandbox.release("one")
    assert (await patient)["id"] == "th-1"
    assert sandbox.count("thread") == 1


@pytest.mark.parametrize(
    ("room", "order"),
    [
        (100, "a1 a2 b1 a3 b2 a4 b3 a5 a7 a6"),
        (10, "a1 a2 b1 a3 b2 a4 b3 a5 a6 a7"),
        (9, "a1 a2 b1 a3 b2 a4 b3 a5 a6 a7"),
    ],
    ids=["there is room", "the line of b is full", "the queue is full"],
)
async def test_a_shared_call_also_waits_in_the_line_of_a_caller_who_joins_it(
    upstream: str, sandbox: Sandbox, room: int, order: str
) -> None:
    """The last call is one of b, who asks for what the last in the line of a asks for."""
    limits = {"upstream_max_concurrency": 1, "upstream_max_queue": room}
    credential, deadline = viewers(sandbox)[0].authorization, asyncio.get_running_loop().time() + 20
    sandbox.faults.add(Fault("thread", "a1", hold="first"))
    async with build_client(settings(upstream_url=upstream, upstream_identity="passthrough", **limits)) as client:
        waiting = [
            asyncio.create_task(client.thread(CallContext(Viewer(credential, caller), deadline), ident))
            for ident, caller in [*((each, each[0]) for each in sorted(order.split())), ("a7", "b")]
        ]
        await asyncio.to_thread(sandbox.wait_for_calls, 1, "thread")
        sandbox.release("first")
        await asyncio.gather(*waiting)
    assert [call.path.rpartition("/")[2] for call in sandbox.calls] == order.split()


@pytest.mark.parametrize("coalescing", [True, False])
async def test_a_call_that_a_loader_makes_is_one_task(upstream: str, sandbox: Sandbox, coalescing: bool) -> None:
    """Neither aiodataloader nor coalescing adds one; all that share the call wait for futures."""
    created: list[object] = []

    def create(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        created.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    configured = settings(upstream_url=upstream, upstream_identity="passthrough", coalescing=coalescing)
    loop = asyncio.get_running_loop()
    async with build_client(configured) as client:
        caller = CallContext(viewers(sandbox)[0], loop.time() + 20)
        await client.thread(caller, "th-1")  # opens the connection
        loop.set_task_factory(create)
        loader = Loaders(client, caller, Intake(Pace())).of(THREAD)
        body = await loader.load(("th-1", None))
        assert body is not None
        assert await loader.load(("th-1", None)) is body
        loop.set_task_factory(None)
    assert len(created) == 1


async def test_it_can_be_switched_off(upstream: str, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="all"))
    viewer = viewers(sandbox)[0]
    configured = settings(upstream_url=upstream, upstream_identity="passthrough", coalescing=False)
    async with build_client(configured) as client:
        waiting = [asyncio.create_task(ask(client, viewer)) for _ in range(3)]
        await asyncio.to_thread(sandbox.wait_for_calls, 3, "thread")
        sandbox.release("all")
        await asyncio.gather(*waiting)


def _post(gateway: Gateway) -> socket.socket:
    """Send a request and return its connection before the response."""
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    body = json.dumps({"query": '{ thread(id: "th-1") { id } }'})
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())
    return connection


def test_the_call_of_a_disconnected_client_is_cancelled(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", hold="for ever"))
    gateway = start()
    with _post(gateway):
        sandbox.wait_for_calls(1, "thread")
    sandbox.wait_until_idle()
    assert [call.cancelled for call in sandbox.calls if call.route == "thread"] == [True]


def test_a_disconnected_client_does_not_cancel_a_shared_call(start: StartGateway, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("thread", "th-1", times=1, hold="one"))
    gateway = start()
    with ThreadPoolExecutor() as pool:
        with _post(gateway):
            sandbox.wait_for_calls(1, "thread")
            other = pool.submit(gateway.data, '{ shared: thread(id: "th-1") { id } __typename }')
            assert gateway.data('{ thread(id: "th-2") { id } }'), "the other request is in flight as well"
        sandbox.release("one")
        assert other.result()["shared"] == {"id": "th-1"}
    assert sandbox.count("thread") == 2
