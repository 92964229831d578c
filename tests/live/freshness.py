"""Proves that no worker serves an older state once a webhook was answered, and that subscribers end at the latest.

Two gateways with two workers each share a Redis that is killed and restarted meanwhile; a fifth process, this one, has
subscribers. Each try changes a thread, posts its webhook until it is taken, and 250 ms later asks every gateway over
new connections, which the kernel spreads over the workers.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.execution.subscriptions import Subscription
from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.live.world import data, world
from tests.programs import MODULE, Program
from tests.upstream.redis_server import RedisServer

GRACE_SECONDS = 0.25
SECRET = "Bearer of the webhook"
QUERY = 'query { thread(id: "t") { status } }'
SUBSCRIPTION = 'subscription { threadUpdated(id: "t") { status } }'
CONNECTIONS = 4  # new ones per gateway and try, so that both of its workers are asked
SUBSCRIBERS = 3
START_SECONDS = 120


@dataclass(slots=True)
class Report:
    """What was seen."""

    tries: int = 0
    responses: int = 0
    older: list[str] = field(default_factory=list)
    refused: int = 0
    """Webhooks that were answered 503 because Redis was away, and sent again."""
    restarts: int = 0
    slowest_webhook: float = 0.0
    slowest_delivery: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.tries} tries, {self.restarts} restarts of Redis, {self.refused} webhooks refused and sent again; "
            f"{self.responses} responses {GRACE_SECONDS * 1000:.0f} ms after the webhook's 2xx, {len(self.older)} of "
            f"them older than it; slowest webhook {self.slowest_webhook * 1000:.0f} ms, slowest delivery "
            f"{self.slowest_delivery * 1000:.0f} ms; every subscriber ended each try at its state"
        )


def run(tries: int, restart_every: int, folder: Path) -> Report:
    """Make that many tries, and restart Redis before every so many of them."""
    sandbox = Sandbox()
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        redis = stack.enter_context(RedisServer())
        shared = {"cache_url": redis.url, "cache_secret": "sixteen or more letters", "cache_timeout": "2"}
        chosen = {**SERVICE, **shared, "upstream_url": upstream, "cache_ttl_thread": "600", "log_level": "error"}
        gateways = [stack.enter_context(_gateway(folder, chosen)) for _ in range(2)]
        urls = [_serving(each) for each in gateways]
        return asyncio.run(_Proof(sandbox, redis, urls).run(tries, restart_every, upstream, shared))


@contextmanager
def _gateway(folder: Path, chosen: dict[str, str]) -> Iterator[Program]:
    own = {**chosen, "workers": "2", "webhook_authorization": SECRET, "log_level": "info"}
    variables = {f"GATEWAY_{name.upper()}": value for name, value in own.items()}
    program = Program((*MODULE, "serve", "--port", "0"), folder, variables)
    try:
        yield program
    finally:
        program.kill()


def _serving(program: Program) -> str:
    """Return the address of a gateway once it responds. Several start at once, which can take long."""
    deadline = time.monotonic() + START_SECONDS
    url = program.err.until(r'"listening on (http://[^"]+)/graphql"')[1]
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=5, verify=NO_CERTIFICATES).status_code == 200:
                return url
        threading.Event().wait(0.05)
    raise TimeoutError("a gateway does not start")


class _Proof:
    def __init__(self, sandbox: Sandbox, redis: RedisServer, urls: list[str]) -> None:
        self._sandbox = sandbox
        self._redis = redis
        self._urls = urls
        self._report = Report()

    async def run(self, tries: int, restart_every: int, upstream: str, shared: dict[str, str]) -> Report:
        """Make the tries."""
        async with AsyncExitStack() as stack:
            live = await stack.enter_async_context(world(upstream, self._sandbox, cache_ttl_thread=600, **shared))
            self._put("0")
            subscribers = [await live.open(SUBSCRIPTION) for _ in range(SUBSCRIBERS)]
            for each in subscribers:
                await data(each)
            for number in range(1, tries + 1):
                if not number % restart_every:
                    await asyncio.to_thread(self._restart)
                await self._try(str(number), subscribers)
            return self._report

    def _put(self, status: str) -> None:
        self._sandbox.store.put_thread({"id": "t", "status": status})

    def _restart(self) -> None:
        self._redis.kill()
        self._redis.start()
        self._report.restarts += 1

    async def _try(self, status: str, subscribers: list[Subscription]) -> None:
        report = self._report
        await asyncio.gather(*(self._ask(url) for url in self._urls))  # so that it is cached
        self._put(status)
        await self._post(self._urls[report.tries % 2], status)
        taken = time.monotonic()
        deliveries = [asyncio.create_task(_reach(each, status)) for each in subscribers]
        await asyncio.sleep(GRACE_SECONDS)
        for found in await asyncio.gather(*(self._ask(url) for url in self._urls for _ in range(CONNECTIONS))):
            report.responses += 1
            if found != status:
                report.older.append(f"{found} instead of {status}")
        slowest = max(await asyncio.gather(*deliveries)) - taken
        report.slowest_delivery = max(report.slowest_delivery, slowest)
        report.tries += 1

    async def _ask(self, url: str) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            response = await http.post(f"{url}/graphql", json={"query": QUERY})
        return str(response.json()["data"]["thread"]["status"])

    async def _post(self, url: str, status: str) -> None:
        body = {"event_id": status, "event_code": "thread_updated", "event_date": "2023-07-03T11:59:46Z"}
        content = {**body, "event_source": "web", "data": {"thread_id": "t"}}
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            while True:
                began = time.monotonic()
                headers = {"authorization": SECRET}
                response = await http.post(f"{url}/webhooks/gochat", json=content, headers=headers)
                self._report.slowest_webhook = max(self._report.slowest_webhook, time.monotonic() - began)
                if response.status_code == 204:
                    return
                assert response.status_code == 503, response.text
                assert response.headers["retry-after"]
                self._report.refused += 1
                await asyncio.sleep(0.02)


async def _reach(subscription: Subscription, status: str) -> float:
    """Return when a subscriber has got this state."""
    while (await data(subscription))["status"] != status:
        pass
    return time.monotonic()
