"""The dataloaders: within one operation the same thread, page or customer is fetched once.

Loaders live as long as one operation, so nothing is shared between two callers here. The future behind a key is
shared by all who load it, and cancelling one awaiter must not cancel the others: hence the shield.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
        self._batches: set[asyncio.Task[None]] = set()
        self._loader: DataLoader[KeyT, Document | None] = DataLoader(self._load_batch, loop=asyncio.get_running_loop())

    async def load(self, key: KeyT) -> Document | None:
        """Return the answer for ``key``; raises the GatewayError of its call."""
        return await asyncio.shield(self._loader.load(key))

    async def _load_batch(self, keys: list[KeyT]) -> list[Document | None]:
        batch = asyncio.current_task()
        if batch is not None:
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)
        results = await asyncio.gather(*(self._fetch(key) for key in keys), return_exceptions=True)
        # aiodataloader takes an exception among the values as that key's own failure.
        return [_outcome(result) for result in results]  # type: ignore[misc]  # see above: not in its signature

    def cancel(self) -> None:
        """Give up every call that is still under way."""
        for batch in self._batches:
            batch.cancel()


def _outcome(result: bytes | BaseException | None) -> Document | Exception | None:
    if isinstance(result, bytes):
        return Document(result)
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        return UpstreamUnavailable("The call was given up.")
    return result


class Loaders:
    """The loaders of one operation."""

    def __init__(self, client: UpstreamClient, caller: Caller) -> None:
        self.threads: DocumentLoader[str] = DocumentLoader(lambda thread_id: client.thread(caller, thread_id))
        self.messages: DocumentLoader[tuple[str, Page]] = DocumentLoader(
            lambda key: client.messages(caller, key[0], key[1].offset, key[1].limit)
        )
        self.customers: DocumentLoader[str] = DocumentLoader(lambda external_id: client.customer(caller, external_id))

    def cancel(self) -> None:
        """Give up every call that is still under way; for an operation that is over before they are."""
        for loader in self._all:
            loader.cancel()

    @property
    def _all(self) -> Sequence[DocumentLoader[str] | DocumentLoader[tuple[str, Page]]]:
        return (self.threads, self.messages, self.customers)
