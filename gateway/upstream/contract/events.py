"""The events of the vendor's webhooks. Apart from the routes: an event comes to the gateway.

The vendor posts each event to one callback URL, with an ``Authorization`` header whose value the operator chose.
Whether events are delivered once, in order, or at all is unknown.
"""

from gateway.upstream.contract.model import Certainty, Enumeration, Event, Field, Format, IdPaths, ObjectType

WEBHOOK_EVENT = ObjectType(
    "WebhookEvent",
    (
        Field("event_id", "str"),
        Field("event_code", "str"),
        Field("event_date", "str", format=Format.DATE_TIME),
        Field("event_source", "EventSource"),
        Field("data", "object", "Depends on the code."),
    ),
    note="The body of every webhook.",
)
EVENT_SOURCE = Enumeration("EventSource", "What caused the event.", ("system", "api", "web"))

CUSTOMERS_UPDATED_DATA = ObjectType(
    "CustomersUpdated", (Field("client_id", "int"), Field("customers", "[CustomerIds]"))
)
CUSTOMER_IDS = ObjectType("CustomerIds", (Field("customer_id", "str"), Field("external_id", "str")))

_THREAD_IDS = IdPaths(
    "thread",
    ("thread_id", "thread.id", "threads[].thread_id", "threads[].id", "messages[].thread_id"),
    Certainty.INFERRED,
)

THREAD_UPDATED = Event("thread_updated", _THREAD_IDS, "A thread was changed or added.")
THREAD_MESSAGE_UPDATED = Event("thread_message_updated", _THREAD_IDS, "A message of a thread was changed or added.")
CUSTOMERS_UPDATED = Event(
    "customers_updated",
    IdPaths("customer", ("customers[].external_id",), Certainty.DOCUMENTED),
    "Customers were changed.",
    data="CustomersUpdated",
)

EVENTS = {each.code: each for each in (THREAD_UPDATED, THREAD_MESSAGE_UPDATED, CUSTOMERS_UPDATED)}
"""The events that matter here, by their code. Others exist."""
