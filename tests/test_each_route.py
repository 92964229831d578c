"""What every route that is read has, whoever added it: one call, a time in the cache, a purge, an end."""

import asyncio

import pytest

from gateway.sandbox import Fault, Sandbox
from gateway.schema.resolvers.cooperative import SLICE_SECONDS, Pace
from gateway.schema.resolvers.loaders import Intake, Loaders
from gateway.schema.resolvers.pagination import Page
from gateway.storage.memory import MemoryStore
from gateway.upstream.call import ResponseOrigin
from gateway.upstream.client import CallContext
from gateway.upstream.contract import READS, Read
from tests.harness import Clock, StartGateway, build_client, settings
from tests.queries import EXAMPLES, query_for
from tests.upstream.cached import OWNER, Cached, ask

IDS = {"thread": EXAMPLES["id"], "customer": EXAMPLES["externalId"]}
each_route = pytest.mark.parametrize("route", READS, ids=lambda each: each.name)


@each_route
def test_its_calls_are_as_many_as_predicted(start: StartGateway, sandbox: Sandbox, route: Read) -> None:
    gateway = start(explain=True)
    response = gateway.http.post("/graphql", json={"query": query_for(route)}, headers={"gateway-explain": "1"})
    assert "errors" not in response.json(), response.text
    assert response.json()["extensions"]["upstream"][-1]["route"] == route.template
    calls = sandbox.count() - sandbox.count("token")
    assert response.headers["gateway-cost"] == f"predicted={calls}, made={calls}"
    assert sandbox.count(route.name) == 1


@each_route
async def test_it_is_cached_for_its_time_and_purged_by_its_subject(upstream: str, route: Read) -> None:
    clock = Clock()
    cached = Cached(upstream, MemoryStore(2**25, clock), clock)
    identifier = IDS[route.subject.kind]
    async with cached as client:
        origins = [(await ask(client, identifier, route=route.name)).origin for _ in range(2)]
        await cached.cache.purge(route.subject.of(identifier))
        origins.append((await ask(client, identifier, route=route.name)).origin)
        if route.fresh is not None:
            clock.now += route.fresh.seconds
        origins.append((await ask(client, identifier, route=route.name)).origin)
    again = ResponseOrigin.FETCHED if route.fresh is None else ResponseOrigin.CACHED
    assert origins == [ResponseOrigin.FETCHED, again, ResponseOrigin.FETCHED, ResponseOrigin.FETCHED]


@each_route
async def test_its_call_ends_with_the_operation(upstream: str, sandbox: Sandbox, route: Read) -> None:
    sandbox.faults.add(Fault(route.name, hold="for ever"))
    chosen = settings(upstream_url=upstream, upstream_identity="passthrough")
    async with build_client(chosen) as client:
        caller = CallContext(OWNER, asyncio.get_running_loop().time() + 60)
        loaders = Loaders(client, caller, Intake(Pace(SLICE_SECONDS)))
        key = IDS[route.subject.kind], Page(0, 10) if route.query else None
        waiting = asyncio.create_task(loaders.of(route).load(key))
        await asyncio.to_thread(sandbox.wait_for_calls, 1, route.name)
        loaders.close()
        waiting.cancel()
        await asyncio.to_thread(sandbox.wait_until_idle)
        await asyncio.gather(waiting, return_exceptions=True)
