"""The dataloaders: within one operation the same thread, page or customer is fetched once.

Loaders live as long as one operation, so nothing is shared between two callers here. The future behind a key is
shared by all who load it, and cancelling one awaiter must not cancel the others: hence the shield.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Generic, TypeVar

from aiodataloader import DataLoader

from gateway.compat.aiodataloader import dispatch_task
from gateway.errors import UpstreamUnavailable
from gateway.schema.resolvers.cooperative import LARGE
from gateway.schema.resolvers.pagination import Page
from gateway.schema.resolvers.records import RestBody
from gateway.upstream.client import CallContext, UpstreamClient

KeyT = TypeVar("KeyT")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A call that failed, as a value: a failure that nobody waits for any more is no news to anyone."""

    error: Exception


class RestLoader(Generic[KeyT]):
    """Loads REST answers by key: one call for each distinct key, all at the same time, None for a 404."""

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], large: int = LARGE) -> None:
        self._loader = _Calls(fetch, large)

    async def load(self, key: KeyT) -> RestBody | None:
        """Return the answer for ``key``; raises the GatewayError of its call."""
        outcome = await asyncio.shield(self._loader.load(key))
        if isinstance(outcome, _Failure):
            raise outcome.error
        return outcome

    def cancel(self) -> None:
        """Give up every call that is still under way."""
        for call in self._loader.under_way:
            call.cancel()


class _Calls(DataLoader[KeyT, RestBody | _Failure | None]):
    """The calls of one loader. Nothing here refers to itself in a circle, so that an operation's answers go with it."""

    batch = False  # the REST API has no call for several keys, so there is nothing to collect them for

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]], large: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._fetch = fetch
        self._large = large
        self.under_way: set[asyncio.Task[None]] = set()

    async def batch_load_fn(self, keys: list[KeyT]) -> list[RestBody | _Failure | None]:
        """Return the outcome for each key."""
        call = dispatch_task()
        if call is not None:
            self.under_way.add(call)
            call.add_done_callback(self.under_way.discard)
        return [await self._outcome(key) for key in keys]

    def get_cache_key(self, key: KeyT) -> KeyT:
        """Return the key itself."""
        return key

    async def _outcome(self, key: KeyT) -> RestBody | _Failure | None:
        try:
            body = await self._fetch(key)
        except asyncio.CancelledError:
            return _Failure(UpstreamUnavailable("The call was given up."))
        except Exception as exc:  # noqa: BLE001 - it is raised again for everyone who loads the key
            return _Failure(exc)
        return None if body is None else RestBody(body, self._large)


class Loaders:
    """The loaders of one operation, each made when it is first used. See `RestBody` for ``large``."""

    def __init__(self, client: UpstreamClient, caller: CallContext, large: int = LARGE) -> None:
        self._client = client
        self._large = large
        self._caller = caller

    @cached_property
    def threads(self) -> RestLoader[str]:
        """Threads by id."""
        return RestLoader(partial(self._client.thread, self._caller), self._large)

    @cached_property
    def messages(self) -> RestLoader[tuple[str, Page]]:
        """Pages of messages by the thread's id and the page."""
        return RestLoader(partial(_messages, self._client, self._caller), self._large)

    @cached_property
    def customers(self) -> RestLoader[str]:
        """Customers' details by external id."""
        return RestLoader(partial(self._client.customer, self._caller), self._large)

    def close(self) -> None:
        """Give up every call that is still under way, and let go of the answers.

        graphql-core's executor refers to itself in a circle, and through the context to these: a large document would
        stay until the garbage collector comes round, and make it take half a second.
        """
        for loader in (self.__dict__.pop(name, None) for name in ("threads", "messages", "customers")):
            if loader is not None:
                loader.cancel()


def _messages(client: UpstreamClient, caller: CallContext, key: tuple[str, Page]) -> Awaitable[bytes | None]:
    thread_id, page = key
    return client.messages(caller, thread_id, page.offset, page.limit)
