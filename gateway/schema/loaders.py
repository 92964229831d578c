"""The dataloaders: within one operation the same thread, page or customer is fetched once.

Loaders live as long as one operation, so nothing is shared between two callers here. The future behind a key is
shared by all who load it, and cancelling one awaiter must not cancel the others: hence the shield.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Generic, TypeVar

from aiodataloader import DataLoader

from gateway.errors import UpstreamUnavailable
from gateway.schema.pagination import Page
from gateway.schema.records import Document
from gateway.upstream.client import Caller, UpstreamClient

KeyT = TypeVar("KeyT")


class DocumentLoader(Generic[KeyT]):
    """Loads REST answers by key: one call for each distinct key, all at the same time, None for a 404."""

    def __init__(self, fetch: Callable[[KeyT], Awaitable[bytes | None]]) -> None:
        self._fetch = fetch
        self._calls: set[asyncio.Task[None]] = set()
        # The REST API has no call for several keys, so there is nothing to collect them for: each starts at once.
        self._loader: DataLoader[KeyT, Document | None] = DataLoader(
            self._load_batch, batch=False, loop=asyncio.get_running_loop()
        )

    async def load(self, key: KeyT) -> Document | None:
        """Return the answer for ``key``; raises the GatewayError of its call."""
        future = self._loader.load(key)
        # A failure that comes when nobody waits for it any more is no news to anyone.
        future.add_done_callback(_retrieve)
        return await asyncio.shield(future)

    async def _load_batch(self, keys: list[KeyT]) -> list[Document | None]:
        call = asyncio.current_task()
        if call is not None:
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        # aiodataloader takes an exception among the values as that key's own failure, and remembers it.
        return [await self._outcome(key) for key in keys]  # type: ignore[misc]  # see above: not in its signature

    async def _outcome(self, key: KeyT) -> Document | Exception | None:
        try:
            body = await self._fetch(key)
        except asyncio.CancelledError:
            return UpstreamUnavailable("The call was given up.")
        except Exception as exc:  # noqa: BLE001 - it is raised again for everyone who loads the key
            return exc
        return None if body is None else Document(body)

    def cancel(self) -> None:
        """Give up every call that is still under way."""
        for call in self._calls:
            call.cancel()


def _retrieve(future: asyncio.Future[Document | None]) -> None:
    if not future.cancelled():
        future.exception()


class Loaders:
    """The loaders of one operation, each made when it is first used."""

    def __init__(self, client: UpstreamClient, caller: Caller) -> None:
        self._client = client
        self._caller = caller

    @cached_property
    def threads(self) -> DocumentLoader[str]:
        """Threads by id."""
        return DocumentLoader(lambda thread_id: self._client.thread(self._caller, thread_id))

    @cached_property
    def messages(self) -> DocumentLoader[tuple[str, Page]]:
        """Pages of messages by the thread's id and the page."""
        return DocumentLoader(lambda key: self._client.messages(self._caller, key[0], key[1].offset, key[1].limit))

    @cached_property
    def customers(self) -> DocumentLoader[str]:
        """Customers' details by external id."""
        return DocumentLoader(lambda external_id: self._client.customer(self._caller, external_id))

    def cancel(self) -> None:
        """Give up every call that is still under way; for an operation that is over before they are."""
        for loader in vars(self).values():
            if isinstance(loader, DocumentLoader):
                loader.cancel()
