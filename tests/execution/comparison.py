"""Runs one operation with plans and without, over the same upstream responses, and returns what a client sees."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.auth import Viewer
from gateway.execution.engine import Engine, EngineOptions
from gateway.execution.operation import Operation
from gateway.http1 import CallFailed, Response
from gateway.schema import FederatedSchema, build_schema
from gateway.schema.resolvers.budget import NO_LIMITS, ResponseLimits
from gateway.schema.resolvers.context import ContextFactory
from gateway.schema.resolvers.cooperative import LARGE_BYTES
from gateway.upstream.call import RestRequest, Transport
from gateway.upstream.client import UpstreamClient
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyMemory
from gateway.upstream.writes.writer import WritePolicy, Writer
from tests.harness import rest_response

Reply = Response | CallFailed


@dataclass(slots=True)
class Upstream:
    """The REST API in memory: ``answer`` returns the response of a path, ``calls`` are the requested paths."""

    answer: Callable[[str], Reply]
    calls: list[str] = field(default_factory=list)

    async def send(self, request: RestRequest) -> Response:
        self.calls.append(request.target)
        reply = self.answer(request.target)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of an operation: the encoded response, and the REST calls in the order of their paths."""

    body: bytes
    calls: list[str]


SCHEMA = build_schema()
CALLER = Viewer("Bearer token")


def engine(*, plans: bool = True, schema: FederatedSchema = SCHEMA) -> Engine:
    return Engine(schema, EngineOptions(plans=plans))


async def no_purge(_subject: str) -> None:
    """There is no cache."""


async def run(
    engine: Engine,
    operation: Operation,
    answer: Callable[[str], Reply],
    transport: Transport | None = None,
    *,
    viewer: Viewer = CALLER,
    large_bytes: int = LARGE_BYTES,
    response: ResponseLimits = NO_LIMITS,
) -> Seen:
    """Execute ``operation``; ``transport`` replaces the one that would be built from ``answer``.

    REST bodies of ``large_bytes`` or more are processed cooperatively; other tasks run as often as they can.
    """
    upstream = Upstream(answer)
    context = _contexts(transport or upstream, large_bytes, response).build(viewer, "request")
    result = await engine.execute(operation, context)
    return Seen(msgspec.json.encode(result.payload), sorted(upstream.calls))


async def run_in_parts(
    engine: Engine, operation: Operation, answer: Callable[[str], Reply], *, incremental: bool = True
) -> list[dict[str, Any]]:
    """Execute ``operation`` for a client that accepts incremental delivery or does not; return the payloads."""
    context = _contexts(Upstream(answer)).build(CALLER, "request")
    result = await engine.execute(operation, context, incremental=incremental)
    payloads = [result.payload]
    if result.subsequent is not None:
        payloads += [each async for each in result.subsequent]
    return [msgspec.json.decode(msgspec.json.encode(each)) for each in payloads]


def _contexts(
    transport: Transport, large_bytes: int = LARGE_BYTES, response: ResponseLimits = NO_LIMITS
) -> ContextFactory:
    client = UpstreamClient(transport)
    writer = Writer(client, no_purge, policy=WritePolicy(enabled=True), keys=IdempotencyKeys(KeyMemory(), b"secret"))
    return ContextFactory(client, writer, 10, 100, large_bytes, response=response, slice_seconds=0)


def documents(bodies: Mapping[str, Any]) -> Callable[[str], Reply]:
    """Answer each path, without its query string, with its JSON body, and a path without a body with a 404."""

    def answer(target: str) -> Reply:
        path = target.partition("?")[0]
        return rest_response(json=bodies[path]) if path in bodies else rest_response(404)

    return answer
