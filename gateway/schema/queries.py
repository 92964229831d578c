"""The entry points of a query."""

import asyncio
from typing import Annotated, Any

import strawberry

from gateway.schema.context import GatewayInfo
from gateway.schema.loaders import DocumentLoader
from gateway.schema.records import Record, read_object
from gateway.schema.types import Customer, Thread

_ThreadId = Annotated[strawberry.ID, strawberry.argument(description="The thread's id.")]
_ThreadIds = Annotated[list[strawberry.ID], strawberry.argument(description="The threads' ids.")]
_ExternalId = Annotated[strawberry.ID, strawberry.argument(description="The id the customer has in your own systems.")]


async def load_record(loader: DocumentLoader[str], key: str) -> Record | None:
    """Return the record that ``loader`` finds for ``key``."""
    document = await loader.load(key)
    return None if document is None else document.record()


async def load_customer(loader: DocumentLoader[str], external_id: str) -> Record | None:
    """Return the customer inside the detail call's answer."""
    profile = await load_record(loader, external_id)
    return None if profile is None else read_object(profile, "customer")


async def _thread(info: GatewayInfo, id: _ThreadId) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``GET /api/v1/thread/{id}``."""
    return await load_record(info.context.loaders.threads, id)


async def _threads(info: GatewayInfo, ids: _ThreadIds) -> Any:
    """``GET /api/v1/thread/{id}`` for each distinct id."""
    # An exception in the list is that thread's own error: the others stand.
    loader = info.context.loaders.threads
    return await asyncio.gather(*(load_record(loader, each) for each in ids), return_exceptions=True)


async def _customer(info: GatewayInfo, external_id: _ExternalId) -> Any:
    """``GET /api/v1/customers/{customer_external_id}``."""
    return await load_customer(info.context.loaders.customers, external_id)


@strawberry.type(description="What can be read.")
class Query:
    """The root of every query."""

    thread: Thread | None = strawberry.field(resolver=_thread, description="One chat thread; null where there is none.")
    threads: list[Thread | None] = strawberry.field(
        resolver=_threads,
        description="Several chat threads, in the order of the ids; null where there is none.",
    )
    customer: Customer | None = strawberry.field(
        resolver=_customer, description="One customer; null where there is none."
    )
