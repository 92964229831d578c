"""Redis is down, slow, busy or holds invalid values: responses are slower, never errors and never wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import redis.asyncio as redis_asyncio

from gateway.auth import Viewer
from gateway.sandbox import Accounts, Sandbox
from gateway.storage.redis import RedisConnection
from gateway.telemetry import Counts
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.client import UpstreamClient
from tests.harness import Clock, build_client, settings
from tests.upstream.cached import Cached, ask, basic, new_store
from tests.upstream.redis_server import RedisServer

FAILING = "Redis does not respond"
RECOVERED = "Redis responds again"
USERS = {f"user{number}@sandbox.example": f"password-{number}" for number in range(5)}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(accounts=Accounts(USERS), echo_caller=True)


@pytest.fixture
def counts() -> Counts:
    return Counts()


def client_of(upstream: str, url: str, counts: Counts, clock: Clock, **overrides: Any) -> UpstreamClient:
    given = {"upstream_identity": "passthrough", "cache_secret": "sixteen or more letters", **overrides}
    return build_client(settings(upstream_url=upstream, cache_url=url, **given), counts, clock.timing)


@asynccontextmanager
async def raw(server: RedisServer) -> AsyncIterator[redis_asyncio.Redis]:
    async with redis_asyncio.Redis.from_url(server.url) as client:
        yield client


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about Redis."""
    lines = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    return [line.partition(" (")[0] for line in lines]


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis that this test may stop and freeze."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


# entries


async def test_entries_expire_and_contain_no_secrets(upstream: str, sandbox: Sandbox, server: RedisServer) -> None:
    clock = Clock()
    token = str(sandbox.accounts.issue(*next(iter(USERS.items())))["access_token"])
    secrets = [token, *USERS.values(), *(basic(*user).removeprefix("Basic ") for user in USERS.items())]
    viewers = [Viewer(f"Bearer {token}"), *(Viewer(basic(*user)) for user in USERS.items())]
    async with Cached(upstream, new_store(server, clock), clock) as client, raw(server) as redis:
        for viewer in viewers:
            for route, ident in (("thread", "th-1"), ("messages", "th-1"), ("customer", "cu-1")):
                await ask(client, ident, route=route, viewer=viewer)
        keys: list[bytes] = [bytes(key) async for key in redis.scan_iter()]
        values = [value for key in keys if isinstance(value := await redis.get(key), bytes)]
        assert len(values) == len(keys) == 3 * len(viewers) + 3  # and the generations
        assert min([await redis.pttl(key) for key in keys]) > 0
        assert all(key.startswith(b"gochat-gateway:") for key in keys)
    seen = b"".join([*keys, *values])
    assert b"th-1" in seen
    for secret in secrets:
        assert secret.encode() not in seen
    assert b"th-1" not in b"".join(keys), "keys must not contain ids"


async def test_more_calls_than_connections_are_no_failure(
    server: RedisServer, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """There are more calls than connections to Redis."""
    store = RedisConnection(server.url, 5, counts, clock).store("cache")
    for _ in range(2):
        await asyncio.gather(*(store.set(f"key-{number}", b"%d" % number, 60) for number in range(300)))
    values = await asyncio.gather(*(store.get([f"key-{number}", "none"]) for number in range(300)))
    await store.aclose()
    assert values == [[b"%d" % number, None] for number in range(300)]
    assert counts == {}
    assert logged(caplog) == []


async def test_the_reply_to_a_cancelled_look_up_reaches_no_other_look_up(
    own_server: RedisServer, clock: Clock, counts: Counts
) -> None:
    """The reply to a cancelled command must not be read as the reply to the next one on that connection."""
    store = RedisConnection(own_server.url, 5, counts, clock).store("cache")
    names = [f"key-{number}" for number in range(20)]
    for name in names:
        await store.set(name, name.encode(), 60)
    for steps in range(12):
        lookups = [asyncio.create_task(store.get([name])) for name in names]
        for _ in range(steps):
            await asyncio.sleep(0)
        for lookup in lookups[::2]:
            lookup.cancel()
        kept = await asyncio.gather(*lookups[1::2])
        assert kept == [[name.encode()] for name in names[1::2]]
        await asyncio.gather(*lookups, return_exceptions=True)
    own_server.freeze()
    lookups = [asyncio.create_task(store.get([name])) for name in names]
    for _ in range(50):
        await asyncio.sleep(0)
    for lookup in lookups:
        lookup.cancel()
    await asyncio.gather(*lookups, return_exceptions=True)
    own_server.thaw()
    assert await asyncio.gather(*(store.get([name]) for name in names)) == [[name.encode()] for name in names]
    await store.aclose()


# down


async def test_a_restart_of_redis_under_load_fails_no_operation(
    upstream: str, own_server: RedisServer, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    answers: asyncio.Queue[None] = asyncio.Queue()
    enough = asyncio.Event()

    async def keep_asking(client: UpstreamClient, name: str, ident: str) -> None:
        viewer = Viewer(basic(name, USERS[name]))
        while not enough.is_set():
            answer = await ask(client, ident, viewer=viewer)
            assert (answer.body["id"], answer.body["tags"][-1]) == (ident, f"caller:{name}")
            answers.put_nowait(None)

    async def more(count: int) -> None:
        while not answers.empty():
            answers.get_nowait()
        for _ in range(count):
            await answers.get()

    async with client_of(upstream, own_server.url, counts, clock, cache_timeout=5) as client:
        load = [asyncio.create_task(keep_asking(client, name, f"th-{n}")) for name in USERS for n in (1, 100, 101)]
        await more(50)
        assert logged(caplog) == []
        for end in (own_server.stop, own_server.kill):
            await asyncio.to_thread(end)
            for _ in range(3):
                await more(20)
                clock.now += 1.1  # the pause is over, and Redis is tried again
            await asyncio.to_thread(own_server.start)
            while logged(caplog)[-1] == FAILING:  # an earlier look-up may still fail, and start another pause
                clock.now += 1.1
                await more(20)
            await more(50)
        assert [task for task in load if task.done()] == []
        # Not cancelled: that leaves connections to Redis half open.
        enough.set()
        await asyncio.gather(*load)
    assert logged(caplog) == [FAILING, RECOVERED] * 2
    assert counts["redis_failures: cache"] >= 4


async def test_stale_connections_after_a_restart_are_no_failure(
    own_server: RedisServer, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisConnection(own_server.url, 5, counts, clock).store("cache")
    await asyncio.gather(*(store.get(["a"]) for _ in range(5)))
    # Not in a thread, so that the event loop notices the broken connections only when they are used again.
    own_server.kill()
    own_server.start()
    await asyncio.gather(*(store.set("a", b"1", 60) for _ in range(5)))
    assert await store.get(["a"]) == [b"1"]
    await store.aclose()
    assert counts == {}
    assert logged(caplog) == []


class RedisProxy:
    """A proxy between a gateway and its Redis that can hold back replies and drop a connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.flows = asyncio.Event()
        self.flows.set()
        self.refuses = False
        self.held: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        with closing(writer), closing(back):
            await asyncio.wait(
                [asyncio.create_task(each) for each in (self._ask(reader, back), self._tell(there, writer))]
            )

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            writer.write(piece)
        writer.close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            if not self.flows.is_set():
                self.held.put_nowait(writer)
            await self.flows.wait()
            writer.write(piece)
        writer.close()


async def test_a_reply_from_before_a_failure_is_no_recovery(
    server: RedisServer, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = RedisProxy(server.port)
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as between:
        store = RedisConnection(f"redis://127.0.0.1:{between.sockets[0].getsockname()[1]}/0", 5, counts, clock).store(
            "cache"
        )
        await store.set("a", b"1", 60)
        await asyncio.gather(store.get(["a"]), store.get(["a"]))
        proxy.flows.clear()
        lookups = [asyncio.create_task(store.get(["a"])) for _ in range(2)]
        first, _second = [await proxy.held.get() for _ in range(2)]
        proxy.refuses = True
        first.transport.abort()
        await asyncio.wait(lookups, return_when=asyncio.FIRST_COMPLETED)
        proxy.refuses = False
        proxy.flows.set()
        assert sorted(str(each) for each in await asyncio.gather(*lookups)) == ["[None]", "[b'1']"]
        assert logged(caplog) == [FAILING]
        clock.now += 1.1
        assert await store.get(["a"]) == [b"1"]
        assert logged(caplog) == [FAILING, RECOVERED]
        await store.aclose()


async def test_a_purge_is_tried_during_the_pause_and_reports_its_result(
    upstream: str, own_server: RedisServer, clock: Clock, counts: Counts
) -> None:
    store = RedisConnection(own_server.url, 0.2, counts, clock).store("cache")
    cached = Cached(upstream, store, clock)
    async with cached as client:
        await ask(client)
        own_server.freeze()
        assert (await ask(client)).origin is ResponseOrigin.FETCHED
        assert not await cached.cache.purge("thread:th-1")
        own_server.thaw()
        assert await cached.cache.purge("thread:th-1")
        clock.now += 1.1
        assert (await ask(client)).origin is ResponseOrigin.FETCHED, "the old entry is still there, but is invalid"


async def test_a_missing_redis_is_reported_and_paused(
    upstream: str, sandbox: Sandbox, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(upstream, "redis://127.0.0.1:1/0", counts, clock) as client:
        for ident in ("th-1", "th-1", "th-100"):
            assert (await ask(client, ident)).origin is ResponseOrigin.FETCHED
        assert counts["redis_failures: cache"] == 1, "not one per call"
        clock.now += 1.1
        await ask(client)
    assert counts["redis_failures: cache"] == 2
    assert logged(caplog) == [FAILING]
    assert sandbox.count() == 4


async def test_an_unknown_redis_host_is_no_error(upstream: str, counts: Counts, clock: Clock) -> None:
    async with client_of(upstream, "redis://no-such-host.invalid:6379/0", counts, clock) as client:
        assert (await ask(client)).body["id"] == "th-1"
    assert counts["redis_failures: cache"] == 1


# slow


async def test_a_silent_redis_costs_its_timeout_once(
    upstream: str, silent: str, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(upstream, silent, counts, clock, cache_timeout=0.05) as client:
        await ask(client, "th-100", route="messages")  # opens the connection
        clock.now += 1.1
        started = loop.time()
        answers = await asyncio.gather(*(ask(client, f"th-{number}") for number in range(100, 130)))
        took = loop.time() - started
    assert {each.origin for each in answers} == {ResponseOrigin.FETCHED}
    assert max(each.report.milliseconds for each in answers) >= 50
    assert took < 2, "each call waited for Redis at most once, and all at the same time"
    assert logged(caplog) == [FAILING]


async def test_redis_that_stops_answering_is_a_miss(
    upstream: str, own_server: RedisServer, counts: Counts, clock: Clock
) -> None:
    async with client_of(upstream, own_server.url, counts, clock, cache_timeout=0.2) as client:
        await ask(client)
        assert (await ask(client)).origin is ResponseOrigin.CACHED
        own_server.freeze()
        assert (await ask(client)).origin is ResponseOrigin.FETCHED
        assert counts["redis_failures: cache"] == 1
        own_server.thaw()
        clock.now += 1.1
        assert (await ask(client)).body["id"] == "th-1"
    assert counts["redis_failures: cache"] == 1


# invalid


async def test_a_wrong_redis_password_is_no_error(upstream: str, counts: Counts, clock: Clock) -> None:
    with RedisServer(password="right") as guarded:
        for url in (guarded.url.replace("right", "wrong"), guarded.url.replace(":right@", "")):
            async with client_of(upstream, url, counts, clock, cache_timeout=5) as client:
                assert [(await ask(client)).origin for _ in range(2)] == [ResponseOrigin.FETCHED] * 2
        assert counts["redis_failures: cache"] == 2
        async with client_of(upstream, guarded.url, counts, clock, cache_timeout=5) as client:
            assert [(await ask(client)).origin for _ in range(2)] == [ResponseOrigin.FETCHED, ResponseOrigin.CACHED]


@pytest.mark.parametrize("rubbish", [b"", b"x", bytes(24), bytes(24) + b"{}", b"\xff" * 100, None], ids=repr)
async def test_an_invalid_value_in_redis_is_a_miss(
    upstream: str, server: RedisServer, clock: Clock, counts: Counts, rubbish: bytes | None
) -> None:
    """None stands for a value of another type, a list."""
    cached = Cached(upstream, new_store(server, clock, counts), clock)
    async with cached as client, raw(server) as redis:
        for spoilt in ("entries", "generations", "all"):
            first = await ask(client)
            for key in [bytes(key) async for key in redis.scan_iter()]:
                if spoilt == "all" or (b"generation" in key) is (spoilt == "generations"):
                    await redis.delete(key)
                    await (redis.lpush(key, "x") if rubbish is None else redis.set(key, rubbish))
            again = await ask(client)
            assert (again.origin, again.body) == (ResponseOrigin.FETCHED, first.body)
            assert (await ask(client)).body == first.body
            await redis.flushall()
    assert counts["redis_failures: cache"] == 0


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":x\r\n", b"*x\r\n", b"$-9\r\n", b"\x00" * 64, b""]
)
async def test_a_server_that_is_not_redis_is_no_error(
    upstream: str, counts: Counts, clock: Clock, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        async with client_of(upstream, url, counts, clock) as client:
            for _ in range(2):
                assert (await ask(client)).origin is ResponseOrigin.FETCHED
                clock.now += 1.1
    assert counts["redis_failures: cache"] >= 2
    assert logged(caplog) == [FAILING]
