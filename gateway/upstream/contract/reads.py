"""What is read: the objects of the answers, and the routes that return them."""

from gateway.upstream.contract.model import Enumeration, Field, Format, ObjectType, Recorded
from gateway.upstream.contract.route import Freshness, Read, Subject

THREAD_STATUS = Enumeration(
    "ThreadStatus",
    "It is written as an integer. The product speaks of open and waiting threads, reminders, and closed ones.",
)
MESSAGE_DELIVERY = Enumeration("MessageDelivery", "A message is a draft, or sent.")
MESSAGE_ORIGIN = Enumeration("MessageOrigin")
CUSTOMER_ACCOUNT_TYPE = Enumeration("CustomerAccountType", "It is saved as `F` (firm) or `N` (individual).")

THREAD_BODY = ObjectType(
    "Thread",
    (
        Field("attachments", "[Attachment]"),
        Field("client_id", "int"),
        Field("contacts", "[str]"),
        Field("created_at", "str", format=Format.DATE_TIME),
        Field("customers", "[Customer]"),
        Field("external_message_ids", "[str]"),
        Field("id", "str"),
        Field("last_message", "Message"),
        Field("message_count", "int", recorded=Recorded.KEPT),
        Field("reminder", "ThreadReminder"),
        Field("review_groups", "[str]"),
        Field("status", "ThreadStatus"),
        Field("tags", "[str]"),
        Field("updated_at", "str", format=Format.DATE_TIME),
    ),
    identified=True,
)
THREAD_REMINDER = ObjectType(
    "ThreadReminder",
    (
        Field("delay", "int", "Its unit is unknown.", recorded=Recorded.KEPT),
        Field("next_date", "str"),
        Field("number_left", "int", recorded=Recorded.KEPT),
    ),
)
THREAD = Read(
    name="thread",
    template="/api/v1/thread/{id}",
    response="Thread",
    subject=Subject("thread", by="id"),
    fresh=Freshness(5, setting="ttl_thread"),
)

MESSAGE_BODY = ObjectType(
    "Message",
    (
        Field("agent_id", "int"),
        Field("attachments", "[Attachment]"),
        Field("bcc", "str"),
        Field("cc", "str"),
        Field("content", "str"),
        Field("created_at", "str", format=Format.DATE_TIME),
        Field("delivery", "MessageDelivery"),
        Field("error_when_trying_to_send", "str"),
        Field("external_message_id", "str"),
        Field("from", "str"),
        Field("id", "str"),
        Field("mailbox_id", "str"),
        Field("origin", "MessageOrigin"),
        Field("priority", "int", recorded=Recorded.KEPT),
        Field("raw_message", "str"),
        Field("read_by_agents", "[int]"),
        Field("reply_to_external_message_id", "str"),
        Field("subject", "str"),
        Field("to", "str"),
    ),
    identified=True,
)
MESSAGE_PAGE = ObjectType(
    "MessagePage", (Field("messages", "[Message]"), Field("total", "int", recorded=Recorded.KEPT))
)
MESSAGES = Read(
    name="messages",
    template="/api/v1/thread/{id}/messages",
    response="MessagePage",
    subject=Subject("thread", by="id"),
    fresh=Freshness(5, setting="ttl_messages"),
    query=(Field("offset", "int", recorded=Recorded.KEPT), Field("limit", "int", recorded=Recorded.KEPT)),
    note="The defaults, the highest limit and the order of the messages are unknown.",
)

ATTACHMENT = ObjectType(
    "Attachment",
    (
        Field("attachment_movements", "AttachmentMovements"),
        Field("file_mime", "str"),
        Field("file_name", "str"),
        Field("file_not_dangerous", "bool", "Null means: not verified yet."),
        Field("file_size", "int", format=Format.INT64, recorded=Recorded.KEPT),
        Field("file_type", "str"),
        Field("id", "str"),
    ),
    identified=True,
)
ATTACHMENT_MOVEMENTS = ObjectType(
    "AttachmentMovements", (Field("movements", "[AttachmentMovedTo]"), Field("total", "int", recorded=Recorded.KEPT))
)
ATTACHMENT_MOVED_TO = ObjectType(
    "AttachmentMovedTo",
    (Field("agent_id", "int"), Field("customer_id", "str"), Field("file_id", "str")),
    note="An attachment that was filed as a customer's document.",
)

CUSTOMER_BODY = ObjectType(
    "Customer",
    (
        Field("account_number", "str"),
        Field("account_type", "CustomerAccountType"),
        Field("alias_ids", "[str]"),
        Field("client_id", "str", "A text here, and an integer in a thread."),
        Field("comment", "str"),
        Field("company_name", "str"),
        Field("contacts", "str"),
        Field("created_at", "str", format=Format.DATE_TIME),
        Field("created_by", "int"),
        Field("custom_fields", "object"),
        Field("customer_type", "str"),
        Field("date_of_birth", "str", format=Format.DATE),
        Field("disabled", "bool"),
        Field("domicile_code", "str"),
        Field("domicile_codes", "[str]"),
        Field("external_id", "str"),
        Field("first_name", "str"),
        Field("id", "str"),
        Field("kyc_level", "int", "Only in a newer edition of the reference.", recorded=Recorded.KEPT),
        Field("last_name", "str"),
        Field("middle_name", "str"),
        Field("name_variations", "[CustomerNameVariation]"),
        Field("nationality_code", "str", deprecated="nationality_codes"),
        Field("nationality_codes", "[str]"),
        Field("phone", "str", "Only in a newer edition of the reference."),
        Field("registration_number", "str"),
        Field("review_groups", "[str]"),
        Field("revision_number", "str"),
        Field("trading_name", "str"),
    ),
    identified=True,
)
CUSTOMER_NAME_VARIATION = ObjectType(
    "CustomerNameVariation",
    (
        Field("company_name", "str"),
        Field("first_name", "str"),
        Field("last_name", "str"),
        Field("middle_name", "str"),
        Field("trading_name", "str"),
    ),
)
CUSTOMER_PROFILE = ObjectType(
    "CustomerProfile",
    (
        Field("customer", "Customer"),
        Field("custom_fields", "[Field]"),
        Field("closed_chat_categories", "Field"),
    ),
    is_open=True,
)
FIELD = ObjectType(
    "Field", (Field("fieldtype", "str"), Field("id", "int"), Field("name", "str"), Field("value", "any"))
)
CUSTOMER = Read(
    name="customer",
    template="/api/v1/customers/{customer_external_id}",
    response="CustomerProfile",
    subject=Subject("customer", by="customer_external_id"),
    fresh=Freshness(30, setting="ttl_customer"),
    note="The path has the external id of the customer.",
)

ERRORS = ObjectType(
    "Errors",
    (Field("errors", "[Error]", "It can hold the same failure twice, in an old form and a new one."),),
    note="The body of every answer that is no success. Which statuses occur is unknown.",
)
ERROR = ObjectType(
    "Error",
    (
        Field("code", "str"),
        Field("message", "str"),
        Field("deprecated", "bool"),
        Field("will_be_deprecated", "bool"),
    ),
)
