"""The dataloaders: within one operation, each thread, page or customer is fetched once.

Loaders live as long as one operation, so that two callers share nothing here. All who load a key await the same future.
Cancelling one of them must not cancel the others: hence the shield.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from aiodataloader import DataLoader

from gateway.compat.aiodataloader import dispatch_task
from gateway.errors import UpstreamUnavailable
from gateway.schema.resolvers.cooperative import LARGE_BYTES
from gateway.schema.resolvers.pagination import Page
from gateway.schema.resolvers.records import RestBody
from gateway.upstream.client import NO_QUERY, CallContext, UpstreamClient
from gateway.upstream.contract import Read

KeyT = TypeVar("KeyT")

RestKey: TypeAlias = tuple[str, Page | None]
"""What is loaded of a route: the id in its path, and the part of the list if the route has pages."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed call, as a value: asyncio would log the exception of a future that is no longer awaited."""

    error: Exception


class RestLoader(Generic[KeyT]):
    """Loads REST bodies by key: one call for each distinct key, all at the same time, None for a 404."""

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], large_bytes: int = LARGE_BYTES) -> None:
        self._loader = _Calls(fetch, large_bytes)

    async def load(self, key: KeyT) -> RestBody | None:
        """Return the body for ``key``; raises the GatewayError of its call."""
        outcome = await asyncio.shield(self._loader.load(key))
        if isinstance(outcome, _Failure):
            raise outcome.error
        return outcome

    def cancel(self) -> None:
        """Cancel every call that is still running."""
        for call in self._loader.running:
            call.cancel()


class _Calls(DataLoader[KeyT, RestBody | _Failure | None]):
    """The calls of one loader. It holds no reference cycle, so that its bodies are freed with the operation."""

    batch = False  # the REST API has no call for several keys

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], large_bytes: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._fetch = fetch
        self._large_bytes = large_bytes
        self.running: set[asyncio.Task[None]] = set()

    async def batch_load_fn(self, keys: list[KeyT]) -> list[RestBody | _Failure | None]:
        """Return the outcome for each key."""
        call = dispatch_task()
        if call is not None:
            self.running.add(call)
            call.add_done_callback(self.running.discard)
        return [await self._outcome(key) for key in keys]

    def get_cache_key(self, key: KeyT) -> KeyT:
        """Return the key itself."""
        return key

    async def _outcome(self, key: KeyT) -> RestBody | _Failure | None:
        try:
            body = await self._fetch(key)
        except asyncio.CancelledError:
            return _Failure(UpstreamUnavailable("The call was given up."))
        except Exception as exc:  # noqa: BLE001 - it is raised again for each load of the key
            return _Failure(exc)
        return None if body is None else RestBody(body, self._large_bytes)


class Loaders:
    """The loaders of one operation, one for each route that it uses. See `RestBody` for ``large_bytes``."""

    def __init__(self, client: UpstreamClient, call: CallContext, large_bytes: int = LARGE_BYTES) -> None:
        self._client = client
        self._large_bytes = large_bytes
        self._call = call

        self._by_route: dict[Read, RestLoader[RestKey]] = {}

    def of(self, route: Read) -> RestLoader[RestKey]:
        """Return the loader of a route."""
        loader = self._by_route.get(route)
        if loader is None:
            fetch = partial(_fetch, self._client, self._call, route)
            loader = self._by_route[route] = RestLoader(fetch, self._large_bytes)
        return loader

    def close(self) -> None:
        """Cancel every call that is still running, and drop the bodies.

        graphql-core's executor is part of a reference cycle, and refers to these through the context. Otherwise a large
        body would stay until the next garbage collection, and make that take half a second.
        """
        while self._by_route:
            self._by_route.popitem()[1].cancel()


def _fetch(client: UpstreamClient, call: CallContext, route: Read, key: RestKey) -> Awaitable[bytes | None]:
    identifier, page = key
    return client.get(call, route, identifier, NO_QUERY if page is None else page.query)
