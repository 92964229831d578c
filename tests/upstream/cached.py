"""A REST client with a cache, in front of the sandbox, and its answer to each call."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.auth import Viewer
from gateway.sandbox import PASSWORD, USERNAME
from gateway.storage.memory import MemoryStore
from gateway.storage.redis import RedisConnection
from gateway.storage.shared import Store
from gateway.telemetry import Counts
from gateway.upstream.call import CallReport, ResponseOrigin, Transport
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import READS
from gateway.upstream.transports.cache import CachePolicy, ResponseCache
from gateway.upstream.transports.coalescing import Coalescing
from tests.harness import Clock, connections
from tests.upstream.redis_server import RedisServer

SECRET = b"a secret of the tests"
TTL: Mapping[str, float] = {each.template: each.fresh.seconds for each in READS if each.fresh is not None}


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


OWNER = Viewer(basic(USERNAME, PASSWORD))


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded response, and the report of its call."""

    body: Any
    report: CallReport

    @property
    def origin(self) -> ResponseOrigin:
        return self.report.origin


async def ask(
    client: UpstreamClient, ident: str = "th-1", *, route: str = "thread", viewer: Viewer = OWNER, seconds: float = 20
) -> Answer:
    """Make one call, and return its response; raises what the client raises."""
    caller = CallContext(viewer, asyncio.get_running_loop().time() + seconds)
    read = next(each for each in READS if each.name == route)
    body = await client.get(caller, read, ident, {"offset": 0, "limit": 10} if read.query else {})
    return Answer(None if body is None else json.loads(body), caller.reports[-1])


@dataclass
class Cached:
    """A client, its cache and its store, built without settings so that a test can reach each of them."""

    upstream: str
    store: Store
    clock: Clock = field(default_factory=Clock)
    policy: CachePolicy = field(default_factory=lambda: CachePolicy(TTL))
    secret: bytes = SECRET
    counts: Counts = field(default_factory=Counts)
    following: Transport | None = None

    def __post_init__(self) -> None:
        self.cache = ResponseCache(
            self.following or connections(self.upstream),
            self.store,
            self.policy,
            self.secret,
            counts=self.counts,
            now=self.clock,
        )
        self.coalescing = Coalescing(self.cache)
        self.client = UpstreamClient(self.coalescing)

    async def __aenter__(self) -> UpstreamClient:
        return self.client

    async def __aexit__(self, *_exc: object) -> None:
        await self.client.aclose()


def new_store(redis: RedisServer | None, clock: Clock, counts: Counts | None = None) -> Store:
    """Return a store in memory, or in ``redis``. The timeout is longer than any stall of a busy machine."""
    if redis is None:
        return MemoryStore(2**25, clock)
    return RedisConnection(redis.url, 5, Counts() if counts is None else counts, clock).store("cache")
