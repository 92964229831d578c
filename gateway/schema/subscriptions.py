"""The entry points of a subscription. Each is executed once for the current state, and again after every change.

A field follows its link, as a field of a query does: the context says for which thread or customer. What an operation
watches is said by the `Topic` of its field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import strawberry
from graphql import GraphQLField

from gateway.compat.strawberry import definition_of
from gateway.schema.resolvers.context import GatewayInfo, OperationContext, Update
from gateway.schema.resolvers.links import Link, Load, RestSource
from gateway.schema.resolvers.records import Record
from gateway.schema.scalars import DateTime
from gateway.schema.types import CUSTOMER_SOURCE, THREAD_SOURCE, Customer, Thread

_ThreadId = Annotated[strawberry.ID, strawberry.argument(description="The thread's id.")]
_ThreadIds = Annotated[list[strawberry.ID], strawberry.argument(description="The threads' ids.")]
_ExternalId = Annotated[str, strawberry.argument(description="The id the customer has in your own systems.")]

_METADATA = "gateway.topic"


class Kind(StrEnum):
    """What is watched."""

    THREAD = "thread"
    CUSTOMER = "customer"
    CHANGES = "changes"
    """Every change of a thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """What a field of ``Subscription`` watches: the kind, and the ids in its arguments, by their Python names."""

    kind: Kind
    ids: Callable[..., Sequence[str]]


def topic_of(field: GraphQLField) -> Topic:
    """Return the topic of a field of ``Subscription``."""
    definition = definition_of(field)
    if definition is None:
        raise ValueError("every field of Subscription has a topic")
    topic: Topic = definition.metadata[_METADATA]
    return topic


_GIVEN_CHANGE = RestSource("ThreadChange", None)
_NOTHING = Update("")


def _update(context: OperationContext) -> Update:
    return context.update or _NOTHING


_THREAD = Link(lambda _context, _parent, id: Load(THREAD_SOURCE, id), (THREAD_SOURCE,))  # noqa: A006 - the argument's GraphQL name
_THREADS = Link(lambda context, _parent, ids: Load(THREAD_SOURCE, _update(context).id), (THREAD_SOURCE,))  # noqa: ARG005 - as above
_CUSTOMER = Link(lambda _context, _parent, external_id: Load(CUSTOMER_SOURCE, external_id), (CUSTOMER_SOURCE,))
_CHANGES = Link(lambda context, _parent: Load(_GIVEN_CHANGE, _update(context).change), (_GIVEN_CHANGE,))
_CHANGED_THREAD = Link(
    lambda _context, thread_id: None if thread_id is None else Load(THREAD_SOURCE, thread_id),
    (THREAD_SOURCE,),
    parent_key="thread_id",
)


async def _thread_updated(info: GatewayInfo, id: _ThreadId) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``GET /api/v1/thread/{id}``."""
    return await _THREAD.follow(info.context, id=id)


async def _threads_updated(info: GatewayInfo, ids: _ThreadIds) -> Any:
    """``GET /api/v1/thread/{id}`` of the one that changed."""
    return await _THREADS.follow(info.context, ids=ids)


async def _customer_updated(info: GatewayInfo, external_id: _ExternalId) -> Any:
    """``GET /api/v1/customers/{customer_external_id}``."""
    return await _CUSTOMER.follow(info.context, external_id=external_id)


async def _thread_changes(info: GatewayInfo) -> Any:
    """The event, which no call fetches."""
    return await _CHANGES.follow(info.context)


async def _changed_thread(root: strawberry.Parent[Record], info: GatewayInfo) -> Any:
    """``GET /api/v1/thread/{id}``."""
    return await _CHANGED_THREAD.follow(info.context, root)


@strawberry.type(description="That a thread changed, or that changes may have been missed.")
class ThreadChange:
    """An event of the webhook, or of the gateway itself."""

    thread_id: strawberry.ID | None = strawberry.field(
        description="The thread that changed; null with `resync`: any thread may have changed. REST: `thread_id`, or "
        "another place of a webhook's `data` that names a thread."
    )
    event_code: str | None = strawberry.field(
        description="What happened, as the webhook calls it, such as `thread_updated`. "
        "`resync`: events may have been missed, so read again what you show. REST: a webhook's `event_code`."
    )
    event_date: DateTime | None = strawberry.field(
        description="When it happened, as the webhook says. REST: a webhook's `event_date`, a text such as "
        "`2018-08-03T12:31:34Z`."
    )
    source: str | None = strawberry.field(
        description="Who caused it, as the webhook says: `system`, `api` or `web`; `gateway`: the gateway itself. "
        "REST: a webhook's `event_source`."
    )
    thread: Thread | None = strawberry.field(
        resolver=_changed_thread,
        metadata=_CHANGED_THREAD.metadata,
        description="The thread as it is now; null where it is gone. It costs one REST call.",
    )


def _field(resolver: Any, link: Link, topic: Topic, description: str) -> Any:
    metadata = {**link.metadata, _METADATA: topic}
    return strawberry.field(resolver=resolver, metadata=metadata, description=description)


@strawberry.type(description="What can be watched.")
class Subscription:
    """The root of every subscription."""

    thread_updated: Thread | None = _field(
        _thread_updated,
        _THREAD,
        Topic(Kind.THREAD, lambda id: (id,)),  # noqa: A006 - the argument's GraphQL name
        "A thread: first its current state, then its state after every change; null where it is gone.",
    )
    threads_updated: Thread | None = _field(
        _threads_updated,
        _THREADS,
        Topic(Kind.THREAD, lambda ids: tuple(dict.fromkeys(ids))),
        "Several threads: first the current state of each, then the state of the one that changed; null where it is "
        "gone.",
    )
    customer_updated: Customer | None = _field(
        _customer_updated,
        _CUSTOMER,
        Topic(Kind.CUSTOMER, lambda external_id: (external_id,)),
        "A customer: first the current state, then the state after every change; null where there is none.",
    )
    thread_changes: ThreadChange = _field(
        _thread_changes,
        _CHANGES,
        Topic(Kind.CHANGES, lambda: ()),
        "Every change of a thread that the caller may read. REST: a webhook.",
    )
