"""Proves that no worker serves an older state once a webhook was answered, and that subscribers end at the latest.

Two gateways with two workers each share a Redis that is killed and restarted meanwhile, at each of the moments that
differ: before the change, between the change and its webhook, and right after the webhook was taken. Each worker has
subscribers. Each try changes a thread, posts its webhook until it is taken, and 250 ms later asks every worker over new
connections, which a gateway gives to its workers in turn.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import httpx

from gateway.sandbox import BackgroundServer, Sandbox, sandbox_config
from tests.harness import NO_CERTIFICATES, SERVICE
from tests.live.proofs.gateways import SECRET, gateway, url_of, webhook_body
from tests.live.proofs.streams import Stream, Watch, any_result, watch
from tests.programs import Start
from tests.upstream.redis_server import RedisServer

GRACE_SECONDS = 0.25
QUERY = 'query { thread(id: "t") { status } }'
SUBSCRIPTION = 'subscription { threadUpdated(id: "t") { status } }'
WORKERS = 2
CONNECTIONS = 2 * WORKERS  # new ones per gateway and try
SUBSCRIBERS = 2 * WORKERS  # per gateway
Moment = Literal["before the change", "before the webhook", "after the webhook"]
MOMENTS: tuple[Moment, ...] = ("before the change", "before the webhook", "after the webhook")


@dataclass(slots=True)
class Report:
    """What was seen."""

    tries: int = 0
    responses: int = 0
    older: list[str] = field(default_factory=list)
    refused: int = 0
    """Webhooks that were answered 503 because Redis was away, and sent again."""
    restarts: int = 0
    subscribers: int = 0
    slowest_webhook: float = 0.0
    slowest_delivery: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.tries} tries, {self.restarts} restarts of Redis, {self.refused} webhooks refused and sent again; "
            f"{self.responses} responses {GRACE_SECONDS * 1000:.0f} ms after the webhook's 2xx, {len(self.older)} of "
            f"them older than it; slowest webhook {self.slowest_webhook * 1000:.0f} ms; {self.subscribers} "
            f"subscribers ended each try at its state, the slowest {self.slowest_delivery * 1000:.0f} ms after the 2xx"
        )


def prove(tries: int, restart_every: int, begin: Start) -> Report:
    """Make that many tries, and restart Redis in every so many of them."""
    sandbox = Sandbox()
    with ExitStack() as stack:
        upstream = stack.enter_context(BackgroundServer(sandbox_config(sandbox.app))).url
        redis = stack.enter_context(RedisServer())
        shared = {"cache_url": redis.url, "cache_secret": "sixteen or more letters", "cache_ttl_thread": "600"}
        chosen = {**SERVICE, **shared, "upstream_url": upstream, "workers": str(WORKERS)}
        gateways = [stack.enter_context(gateway(begin, chosen)) for _ in range(2)]
        urls = [url_of(each) for each in gateways]
        return asyncio.run(_Proof(sandbox, redis, urls).run(tries, restart_every))


class _Proof:
    def __init__(self, sandbox: Sandbox, redis: RedisServer, urls: list[str]) -> None:
        self._sandbox = sandbox
        self._redis = redis
        self._urls = urls
        self._report = Report()

    async def run(self, tries: int, restart_every: int) -> Report:
        """Make the tries."""
        self._put("0")
        subscribers = [await watch(url, Watch(SUBSCRIPTION)) for url in self._urls for _ in range(SUBSCRIBERS)]
        self._report.subscribers = len(subscribers)
        for each in subscribers:
            await each.until(any_result)
        for number in range(1, tries + 1):
            times, is_over = divmod(number, restart_every)
            await self._try(str(number), subscribers, None if is_over else MOMENTS[times % len(MOMENTS)])
        for each in subscribers:
            each.hang_up()
        return self._report

    def _put(self, status: str) -> None:
        self._sandbox.store.put_thread({"id": "t", "status": status})

    async def _restart(self, now: Moment, chosen: Moment | None) -> None:
        if now == chosen:
            await asyncio.to_thread(self._redis.kill)
            await asyncio.to_thread(self._redis.start)
            self._report.restarts += 1

    async def _try(self, status: str, subscribers: Sequence[Stream], restart: Moment | None) -> None:
        report = self._report
        await asyncio.gather(*(self._ask(url) for url in self._urls for _ in range(WORKERS)))  # so that it is cached
        await self._restart("before the change", restart)
        self._put(status)
        await self._restart("before the webhook", restart)
        await self._post(self._urls[report.tries % 2], status)
        taken = time.monotonic()
        await self._restart("after the webhook", restart)
        expected = f'"status":"{status}"'.encode()
        deliveries = [asyncio.create_task(each.until(lambda result: expected in result)) for each in subscribers]
        await asyncio.sleep(max(0.0, taken + GRACE_SECONDS - time.monotonic()))
        for found in await asyncio.gather(*(self._ask(url) for url in self._urls for _ in range(CONNECTIONS))):
            report.responses += 1
            if found != status:
                report.older.append(f"try {status}: {found}; Redis was restarted {restart or 'in another try'}")
        slowest = max(await asyncio.gather(*deliveries)) - taken
        report.slowest_delivery = max(report.slowest_delivery, slowest)
        report.tries += 1

    async def _ask(self, url: str) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            response = await http.post(f"{url}/graphql", json={"query": QUERY})
        return str(response.json()["data"]["thread"]["status"])

    async def _post(self, url: str, status: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=NO_CERTIFICATES) as http:
            while True:
                began = time.monotonic()
                body, headers = webhook_body("t", status), {"authorization": SECRET}
                response = await http.post(f"{url}/webhooks/gochat", json=body, headers=headers)
                self._report.slowest_webhook = max(self._report.slowest_webhook, time.monotonic() - began)
                if response.status_code == 204:
                    return
                assert response.status_code == 503, response.text
                assert response.headers["retry-after"]
                self._report.refused += 1
                await asyncio.sleep(0.02)
