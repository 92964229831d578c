"""The types of the Go!Chat REST API. Attributes have the REST names; the records behind them are plain dicts.

A field with a description and no resolver is read from the REST body by `gateway.schema.resolvers.records`. A field
with a resolver costs a REST call of its own when it is selected.
"""

from typing import Annotated, Any

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet
from strawberry.scalars import JSON

from gateway.errors import UpstreamInvalidResponse
from gateway.schema.field_scopes import CONTENT, PERSONAL, needs
from gateway.schema.resolvers.context import GatewayInfo, OperationContext
from gateway.schema.resolvers.links import Link, Load, RestSource
from gateway.schema.resolvers.pagination import Arguments
from gateway.schema.resolvers.records import Record, belonging_to, customer_of_thread, read_text
from gateway.schema.scalars import (
    BigInt,
    CustomerAccountType,
    Date,
    DateTime,
    MessageDelivery,
    MessageOrigin,
    ThreadStatus,
)
from gateway.upstream.contract.reads import CUSTOMER, MESSAGES, THREAD

DEFAULT_PAGE_SIZE = 20


def _field(
    description: str, *, name: str | None = None, deprecated: str | None = None, scope: str | None = None
) -> Any:
    return strawberry.field(description=description, name=name, deprecation_reason=deprecated, metadata=needs(scope))


THREAD_SOURCE = RestSource("Thread", THREAD)
"""The body of a thread."""
CUSTOMER_SOURCE = RestSource("Customer", CUSTOMER, part="customer")
"""The customer in the body of its details."""


def _linked(link: Link, description: str) -> Any:
    """A field without arguments whose value another REST call returns."""

    async def resolve(root: strawberry.Parent[Record], info: GatewayInfo) -> Any:
        return await link.follow(info.context, root)

    return strawberry.field(resolver=resolve, metadata=link.metadata, description=description)


def _by_parents(key: str, source: RestSource) -> Link:
    """Return the link to the body for the id that the parent has at ``key``; a parent without one has no value."""
    return Link(lambda _context, text: None if text is None else Load(source, text), (source,), parent_key=key)


_PROFILE = _by_parents("external_id", RestSource("CustomerProfile", CUSTOMER))
_MESSAGES_SOURCE = RestSource("MessageConnection", MESSAGES, items="messages", item_type="Message")


def _ask_messages(context: OperationContext, thread: tuple[str | None, int | None], **arguments: Any) -> Load:
    thread_id, count = thread
    known = None if count is None or count < 0 else count
    page, tail = Arguments(**arguments).pages(known, default=DEFAULT_PAGE_SIZE, largest=context.max_page_size)
    if thread_id is None:
        raise UpstreamInvalidResponse("The REST API left out the thread's id.")
    return Load(_MESSAGES_SOURCE, thread_id, page, tail)


_MESSAGES = Link(_ask_messages, (_MESSAGES_SOURCE,), parent_key="id", size_key="message_count", tail_argument="last")


_First = Annotated[
    int | None,
    strawberry.argument(
        description=f"So many of the first messages, at most; {DEFAULT_PAGE_SIZE} without `first` and `last`. "
        "With 0 there are none, only `totalCount`."
    ),
]
_After = Annotated[str | None, strawberry.argument(description="Only messages after this cursor.")]
_Last = Annotated[
    int | None,
    strawberry.argument(description="So many of the last messages, at most, in the same order. Not with `first`."),
]
_Before = Annotated[str | None, strawberry.argument(description="Only messages before this cursor.")]


async def _messages(
    root: strawberry.Parent[Record],
    info: GatewayInfo,
    first: _First = None,
    after: _After = None,
    last: _Last = None,
    before: _Before = None,
) -> Any:
    """``GET /api/v1/thread/{id}/messages``."""
    found = await _MESSAGES.follow(info.context, root, first=first, after=after, last=last, before=before)
    return None if found is None else belonging_to(root, found)


# Other subgraphs can add fields to an object that was reached through a thread, but cannot return it by `id`: the REST
# API has no call for that.
_BY_ID_ELSEWHERE = Key(fields=FieldSet("id"), resolvable=False)


async def _moved_to(root: strawberry.Parent[Record], info: GatewayInfo) -> Any:
    """No call: the customer of the thread's body."""
    customer_id = read_text(root, "customer_id")
    return None if customer_id is None else await customer_of_thread(root, customer_id, info.context.pace)


@strawberry.type(description="Who filed an attachment as a customer's document, and as which.")
class AttachmentMovedTo:
    """REST: AttachmentMovedTo."""

    agent_id: int | None = _field("The agent who filed the attachment.")
    customer: Annotated["Customer", strawberry.lazy("gateway.schema.types")] | None = strawberry.field(
        resolver=_moved_to,
        description="The customer whose document it became, if that is one of the thread's customers; null elsewhere. "
        "Costs no REST call. REST: the one of the thread's `customers` whose `id` is `customer_id`.",
    )
    customer_id: str | None = _field(
        "The `id` of the customer whose document it became. The REST API finds no customer by it; "
        "`Query.customer` takes the external id."
    )
    file_id: str | None = _field("The document it became. No known REST call returns it.")


@strawberry.type(description="Where an attachment was filed.")
class AttachmentMovements:
    """REST: AttachmentMovements."""

    movements: list[AttachmentMovedTo] = _field("Each time the attachment was filed as a customer's document.")
    total: int | None = _field("How many times it was filed.")


@strawberry.federation.type(keys=[_BY_ID_ELSEWHERE], description="A file that came with a message.")
class Attachment:
    """REST: Attachment."""

    attachment_movements: AttachmentMovements | None = _field("Where the attachment was filed.")
    file_mime: str | None = _field("The file's media type, such as `application/pdf`.")
    file_name: str | None = _field("The file's name.", scope=CONTENT)
    file_not_dangerous: bool | None = _field("Whether the file was found harmless.")
    file_size: BigInt | None = _field("The file's size in bytes.")
    file_type: str | None = _field("The kind of file.")
    id: strawberry.ID = _field("The attachment's id.")


@strawberry.federation.type(keys=[_BY_ID_ELSEWHERE], description="One message of a chat thread.")
class Message:
    """REST: Message."""

    agent_id: int | None = _field("The agent who wrote the message; null where a customer did.")
    attachments: list[Attachment] = _field("The files that came with the message.")
    bcc: str | None = _field("Who got a blind copy.", scope=CONTENT)
    cc: str | None = _field("Who got a copy.", scope=CONTENT)
    content: str | None = _field("The text, possibly HTML.", scope=CONTENT)
    created_at: DateTime | None = _field("When the message was made.")
    delivery: MessageDelivery | None = _field("How far the message has come: a draft, sent, and the like.")
    error_when_trying_to_send: str | None = _field("Why the message could not be sent.", scope=CONTENT)
    external_message_id: str | None = _field("The id the message has in the system it came from.")
    from_: str | None = _field("Who sent the message.", name="from", scope=CONTENT)
    id: strawberry.ID = _field("The message's id.")
    mailbox_id: str | None = _field("The mailbox the message belongs to.")
    origin: MessageOrigin | None = _field("Where the message came from.")
    priority: int | None = _field("The message's priority.")
    raw_message: str | None = _field("The message as it came, before it was read.", scope=CONTENT)
    read_by_agents: list[int] = _field("The agents who have read the message.")
    reply_to_external_message_id: str | None = _field("The external id of the message this one answers.")
    subject: str | None = _field("The subject line.", scope=CONTENT)
    to: str | None = _field("Who the message is for.", scope=CONTENT)


@strawberry.type(description="Another name a customer goes by.")
class CustomerNameVariation:
    """REST: CustomerNameVariation."""

    company_name: str | None = _field("The company's name.")
    first_name: str | None = _field("The first name.")
    last_name: str | None = _field("The last name.")
    middle_name: str | None = _field("The middle name.")
    trading_name: str | None = _field("The name a company trades under.")


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("externalId")), _BY_ID_ELSEWHERE],
    description="A customer: an individual or a firm.",
)
class Customer:
    """REST: Customer."""

    account_number: str | None = _field("The customer's account number.", scope=PERSONAL)
    account_type: CustomerAccountType | None = _field("Whether the customer is a firm or an individual.")
    alias_ids: list[str] = _field("Further ids of the same customer.")
    client_id: str | None = _field("The vendor's client the customer belongs to.")
    comment: str | None = _field("What agents noted about the customer.", scope=PERSONAL)
    company_name: str | None = _field("The company's name.", scope=PERSONAL)
    contacts: str | None = _field("How to reach the customer.", scope=PERSONAL)
    created_at: DateTime | None = _field("When the customer was recorded.")
    created_by: int | None = _field("The agent who recorded the customer.")
    custom_fields: JSON | None = _field("The fields this installation adds to customers, by name.", scope=PERSONAL)
    customer_type: str | None = _field("The kind of customer.")
    date_of_birth: Date | None = _field("The day of birth.", scope=PERSONAL)
    disabled: bool | None = _field("Whether the customer is disabled.")
    domicile_code: str | None = _field("The country of domicile.", scope=PERSONAL)
    domicile_codes: list[str] = _field("The countries of domicile.", scope=PERSONAL)
    external_id: str | None = _field("The id the customer has in your own systems.")
    first_name: str | None = _field("The first name.", scope=PERSONAL)
    id: strawberry.ID = _field("The customer's id. The REST API finds no customer by it.")
    kyc_level: int | None = _field("The level of due diligence.", scope=PERSONAL)
    last_name: str | None = _field("The last name.", scope=PERSONAL)
    middle_name: str | None = _field("The middle name.", scope=PERSONAL)
    name_variations: list[CustomerNameVariation] = _field("Other names the customer goes by.", scope=PERSONAL)
    nationality_code: str | None = _field("The nationality.", deprecated="Use `nationalityCodes`.", scope=PERSONAL)
    nationality_codes: list[str] = _field("The nationalities.", scope=PERSONAL)
    phone: str | None = _field("The phone number.", scope=PERSONAL)
    registration_number: str | None = _field("The company's registration number.", scope=PERSONAL)
    review_groups: list[str] = _field("The groups of agents who review the customer.")
    revision_number: str | None = _field("The revision of the customer's record.")
    trading_name: str | None = _field("The name the company trades under.", scope=PERSONAL)

    profile: Annotated["CustomerProfile", strawberry.lazy("gateway.schema.types")] | None = _linked(
        _PROFILE, "The customer in full. Costs one REST call; null where the customer has no external id."
    )


@strawberry.type(description="One custom field of a customer's profile.")
class Field:
    """REST: Field."""

    fieldtype: str | None = _field("The kind of field.")
    id: int | None = _field(
        "The field's id, which many customers share.",
        deprecated="Use `fieldId`. Caches of clients take an `id` for an object's own, and mix up customers' values.",
    )
    id_: int | None = _field("Which field it is. Each customer has a value of its own for it.", name="fieldId")
    name: str | None = _field("The field's name.")
    value: JSON | None = _field("The field's value, of whatever type the field has.")


@strawberry.type(description="A customer in full, as the customer detail call gives it.")
class CustomerProfile:
    """REST: the body of ``GET /api/v1/customers/{customer_external_id}``."""

    customer: Customer | None = _field("The customer.")
    custom_fields: list[Field] = _field("The fields this installation adds to customers.", scope=PERSONAL)
    closed_chat_categories: Field | None = _field("The categories of the customer's closed chats.")


@strawberry.type(description="When a thread comes back to the agents' attention.")
class ThreadReminder:
    """REST: ThreadReminder."""

    delay: int | None = _field("The time between two reminders.")
    next_date: str | None = _field("When the next reminder is due.")
    number_left: int | None = _field("How many reminders are left.")


@strawberry.federation.type(shareable=True, description="Where a page lies in its connection (Relay).")
class PageInfo:
    """Relay: PageInfo."""

    has_next_page: bool = _field("Whether there are edges after this page.")
    has_previous_page: bool = _field("Whether there are edges before this page.")
    start_cursor: str | None = _field("The cursor of the page's first edge.")
    end_cursor: str | None = _field("The cursor of the page's last edge: the next page's `after`.")


@strawberry.type(description="One message in a page of messages.")
class MessageEdge:
    """Relay: an edge."""

    cursor: str = _field("The edge's position, for `after`.")
    node: Message = _field("The message. REST: an item of `messages`.")


@strawberry.type(description="One page of a thread's messages, in the order of the REST API.")
class MessageConnection:
    """Relay: a connection."""

    edges: list[MessageEdge] = _field("The messages of the page with their cursors. REST: `messages`.")
    nodes: list[Message] = _field("The messages of the page. REST: `messages`.")
    page_info: PageInfo = _field("Where the page lies.")
    total_count: int | None = _field("How many messages the thread has. REST: `total`.")


@strawberry.federation.type(keys=[Key(fields=FieldSet("id"))], description="A chat thread.")
class Thread:
    """REST: Thread."""

    attachments: list[Attachment] = _field("The files of the thread.")
    client_id: int | None = _field("The vendor's client the thread belongs to.")
    contacts: list[str] = _field("The addresses that take part.", scope=PERSONAL)
    created_at: DateTime | None = _field("When the thread was opened.")
    customers: list[Customer] = _field("The customers the thread is about.")
    external_message_ids: list[str] = _field("The external ids of the thread's messages.")
    id: strawberry.ID = _field("The thread's id.")
    last_message: Message | None = _field("The thread's newest message.")
    message_count: int | None = _field("How many messages the thread has.")
    reminder: ThreadReminder | None = _field("When the thread comes back to attention.")
    review_groups: list[str] = _field("The groups of agents who review the thread.")
    status: ThreadStatus | None = _field("Whether the thread waits for an agent, for the customer, or is closed.")
    tags: list[str] = _field("The thread's tags.")
    updated_at: DateTime | None = _field("When the thread last changed.")

    messages: MessageConnection | None = strawberry.field(
        resolver=_messages,
        metadata=_MESSAGES.metadata,
        description="The thread's messages, page by page. A page costs one REST call; the last page a second one where "
        "`messageCount` is not the number of messages.",
    )
