"""The entry points of a query."""

from typing import Annotated, Any

import strawberry

from gateway.schema.payloads import MESSAGE_CALLS, MessageOutcome, outcome_of_message
from gateway.schema.resolvers.context import GatewayInfo
from gateway.schema.resolvers.links import Link, Load, SeveralLoads, makes_calls
from gateway.schema.types import CUSTOMER_SOURCE, THREAD_SOURCE, Customer, Thread

_ThreadId = Annotated[strawberry.ID, strawberry.argument(description="The thread's id.")]
_ThreadIds = Annotated[list[strawberry.ID], strawberry.argument(description="The threads' ids.")]
_ExternalId = Annotated[strawberry.ID, strawberry.argument(description="The id the customer has in your own systems.")]
_Key = Annotated[str, strawberry.argument(description="The `idempotencyKey` that `createMessage` was given.")]

_THREAD = Link(lambda _context, _parent, id: Load(THREAD_SOURCE, id), (THREAD_SOURCE,))  # noqa: A006 - the argument's GraphQL name
_THREADS = Link(
    lambda _context, _parent, ids: SeveralLoads(Load(THREAD_SOURCE, each) for each in ids), (THREAD_SOURCE,)
)
_CUSTOMER = Link(lambda _context, _parent, external_id: Load(CUSTOMER_SOURCE, external_id), (CUSTOMER_SOURCE,))


async def _thread(info: GatewayInfo, id: _ThreadId) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``GET /api/v1/thread/{id}``."""
    return await _THREAD.follow(info.context, id=id)


async def _threads(info: GatewayInfo, ids: _ThreadIds) -> Any:
    """``GET /api/v1/thread/{id}`` for each distinct id."""
    return await _THREADS.follow(info.context, ids=ids)


async def _customer(info: GatewayInfo, external_id: _ExternalId) -> Any:
    """``GET /api/v1/customers/{customer_external_id}``."""
    return await _CUSTOMER.follow(info.context, external_id=external_id)


async def _message_outcome(info: GatewayInfo, thread_id: _ThreadId, idempotency_key: _Key) -> Any:
    """``GET /api/v1/thread/{id}`` and the newest messages."""
    return await outcome_of_message(info, thread_id, idempotency_key)


@strawberry.type(description="What can be read.")
class Query:
    """The root of every query."""

    thread: Thread | None = strawberry.field(
        resolver=_thread, metadata=_THREAD.metadata, description="One chat thread; null where there is none."
    )
    threads: list[Thread | None] = strawberry.field(
        resolver=_threads,
        metadata=_THREADS.metadata,
        description="Several chat threads, in the order of the ids; null where there is none.",
    )
    customer: Customer | None = strawberry.field(
        resolver=_customer, metadata=_CUSTOMER.metadata, description="One customer; null where there is none."
    )
    message_outcome: MessageOutcome | None = strawberry.field(
        resolver=_message_outcome,
        metadata=makes_calls(MESSAGE_CALLS),
        description="What is known by now of a message that was created with an idempotency key. REST: what "
        "`GET /api/v1/thread/{id}/messages` has of it.",
    )
