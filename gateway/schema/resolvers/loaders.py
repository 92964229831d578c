"""The dataloaders: within one operation, each thread, page or customer is fetched once.

Loaders live as long as one operation, so that two callers share nothing here. All who load a key await the same future.
Cancelling one of them must not cancel the others: hence the shield.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from gateway.compat.aiodataloader import UndispatchedLoader
from gateway.errors import GatewayError, TooManyUpstreamBytes, UpstreamUnavailable
from gateway.schema.resolvers.cooperative import LARGE_BYTES, Pace, run_cooperatively
from gateway.schema.resolvers.large_bodies import inspect
from gateway.schema.resolvers.pagination import Page
from gateway.schema.resolvers.records import RestBody
from gateway.upstream.client import NO_QUERY, CallContext, UpstreamClient
from gateway.upstream.contract import Read
from gateway.upstream.drift.comparison import Sample

KeyT = TypeVar("KeyT")
ResultT = TypeVar("ResultT")

RestKey: TypeAlias = tuple[str, Page | None]
"""What is loaded of a route: the id in its path, and the part of the list if the route has pages."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed call, as a value: asyncio would log the exception of a future that is no longer awaited."""

    error: BaseException


_Outcome: TypeAlias = RestBody | _Failure | None


class Intake(msgspec.Struct):
    """Takes the REST bodies of one operation in, as long as there is room.

    A body of ``large_bytes`` or more is inspected first, and processed cooperatively at this ``pace``.
    """

    pace: Pace
    large_bytes: int = LARGE_BYTES
    max_bytes: int = 2**62
    """How many bytes all bodies together may have."""
    _taken: int = 0

    def take(self, content: bytes) -> RestBody:
        """Return the body, of which a large one has to be inspected; raise TooManyUpstreamBytes."""
        self._taken += len(content)
        if self._taken > self.max_bytes:
            raise TooManyUpstreamBytes(
                f"The operation needs more than {self.max_bytes} bytes of the REST API; request less in one operation."
            )
        return RestBody(content, is_large=len(content) >= self.large_bytes)

    async def inspect(self, body: RestBody) -> RestBody:
        """Return the body; raise UpstreamInvalidResponse if it has too many values."""
        await run_cooperatively(inspect(body.content), self.pace)
        return body


class RestLoader(Generic[KeyT]):
    """Loads REST bodies by key: one call for each distinct key, all at the same time, None for a 404."""

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], intake: Intake) -> None:
        self._loader = _Calls(fetch, intake)
        self.bodies: dict[KeyT, RestBody] = {}
        """The bodies that were loaded, by key."""

    async def load(self, key: KeyT) -> RestBody | None:
        """Return the body for ``key``; raises the GatewayError of its call."""
        loading = self._loader.load(key)
        if not loading.done():
            await _end_of(loading)
        outcome = loading.result()
        if isinstance(outcome, _Failure):
            raise outcome.error
        if outcome is not None:
            self.bodies[key] = outcome
        return outcome

    def put(self, key: KeyT, body: RestBody) -> None:
        """Give the body for a key that was not loaded yet."""
        self._loader.prime(key, body)

    def close(self) -> None:
        """Cancel every call that is still running, and drop the bodies: errors refer to this loader for a while."""
        for call in list(self._loader.running):
            call.cancel()
        self._loader.clear_all()
        self.bodies.clear()


class _Calls(UndispatchedLoader[KeyT, _Outcome]):
    """The calls of one loader. It holds no reference cycle, so that its bodies are freed with the operation."""

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], intake: Intake) -> None:
        super().__init__(intake.pace.loop)
        self._fetch = fetch
        self._intake = intake
        self.running: set[asyncio.Future[Any]] = set()
        """The calls, and the inspections of large bodies."""

    def begin(self, key: KeyT, outcome: "asyncio.Future[_Outcome]") -> None:
        """Begin the call for a key."""
        try:
            fetching = self._fetch(key)
            call = fetching if isinstance(fetching, asyncio.Future) else asyncio.ensure_future(fetching)
        except Exception as exc:  # noqa: BLE001 - it is raised again for each load of the key
            outcome.set_result(_Failure(exc))
            return
        self.running.add(call)
        call.add_done_callback(partial(_called, self.running, self._intake, outcome))


def _end_of(loading: "asyncio.Future[Any]") -> "asyncio.Future[None]":
    """Return a future for one awaiter, who may be cancelled without cancelling ``loading``.

    `asyncio.shield` does the same, in nine calls of Python functions.
    """
    end = loading.get_loop().create_future()
    loading.add_done_callback(partial(_wake, end))
    return end


def _wake(end: "asyncio.Future[None]", _loading: "asyncio.Future[Any]") -> None:
    if not end.done():
        end.set_result(None)


def _called(
    running: set[asyncio.Future[Any]],
    intake: Intake,
    outcome: asyncio.Future[_Outcome],
    call: asyncio.Future[bytes | None],
) -> None:
    """Set the outcome of a call that ended, or begin to inspect its body."""
    running.discard(call)
    content = _result(call)
    if not isinstance(content, bytes):
        outcome.set_result(content)
        return
    try:
        body = intake.take(content)
    except GatewayError as exc:
        outcome.set_result(_Failure(exc))
        return
    if not body.is_large:
        outcome.set_result(body)
        return
    inspection = asyncio.ensure_future(intake.inspect(body))
    running.add(inspection)
    inspection.add_done_callback(running.discard)
    inspection.add_done_callback(partial(_inspected, outcome))


def _inspected(outcome: asyncio.Future[_Outcome], inspection: asyncio.Future[RestBody]) -> None:
    body = _result(inspection)
    outcome.set_result(body)


def _result(done: asyncio.Future[ResultT]) -> ResultT | _Failure:
    if done.cancelled():
        return _Failure(UpstreamUnavailable("The call was given up."))
    exc = done.exception()
    if exc is None:
        return done.result()
    if isinstance(exc, GatewayError):
        # The frames of its traceback, and what caused it, hold the response.
        exc.__traceback__ = exc.__cause__ = exc.__context__ = None
    return _Failure(exc)


class Loaders:
    """The loaders of one operation, one for each route that it uses."""

    def __init__(self, client: UpstreamClient, call: CallContext, intake: Intake) -> None:
        self._client = client
        self._call = call
        self._intake = intake
        self._renewed: list[RestLoader[Any]] = []
        self._by_route: dict[Read, RestLoader[RestKey]] = {}

    def of(self, route: Read) -> RestLoader[RestKey]:
        """Return the loader of a route."""
        loader = self._by_route.get(route)
        if loader is None:
            fetch = partial(_fetch, self._client, self._call, route)
            loader = self._by_route[route] = RestLoader(fetch, self._intake)
        return loader

    @property
    def has_cache(self) -> bool:
        """Whether `made` may find anything."""
        return self._client.has_cache

    def made(self, name: bytes) -> Any:
        """Return what `keep` keeps by this name, and report the bodies it was made of; None if one would be another."""
        return self._client.made(self._call, name)

    def keep(self, name: bytes, made: Any, size: int) -> None:
        """Keep what was made of all bodies that were loaded, if they are in the cache, for this caller alone."""
        entries = []
        for (route, (identifier, page)), body in self.bodies.items():
            query = NO_QUERY if page is None else page.query
            entry = self._client.cached(self._call, route, identifier, query)
            if entry is None or not entry.holds(body.content):
                return
            entries.append(entry)
        self._client.keep(self._call, name, made, size, entries)

    @property
    def bodies(self) -> dict[tuple[Read, RestKey], RestBody]:
        """All bodies that were loaded."""
        return {(route, key): body for route, loader in self._by_route.items() for key, body in loader.bodies.items()}

    def suspect(self, route: Read, key: RestKey, body: RestBody) -> None:
        """Let a body be examined that is not as a plan expects it."""
        identifier, page = key
        target = route.target(identifier, NO_QUERY if page is None else page.query)
        self._call.samples.append(Sample(route, target, route.status, body.content))

    def close(self) -> None:
        """Cancel every call that is still running, examine what was sampled, and drop the bodies.

        graphql-core's executor is part of a reference cycle, and refers to these through the context. Otherwise a large
        body would stay until the next garbage collection, and make that take half a second.
        """
        self._client.examine(self._call)
        self.renew()
        while self._renewed:
            self._renewed.pop().close()

    def renew(self) -> None:
        """Load everything again from now on: something was written."""
        self._renewed += self._by_route.values()
        self._by_route = {}

    async def put(self, route: Read, key: RestKey, content: bytes) -> None:
        """Give a body that was read with a write. One that is refused is loaded, and refused, when it is needed."""
        with suppress(GatewayError):
            body = self._intake.take(content)
            self.of(route).put(key, await self._intake.inspect(body) if body.is_large else body)


def _fetch(client: UpstreamClient, call: CallContext, route: Read, key: RestKey) -> Awaitable[bytes | None]:
    identifier, page = key
    return client.get(call, route, identifier, NO_QUERY if page is None else page.query)
