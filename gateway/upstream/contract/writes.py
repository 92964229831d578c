"""What is written: the request bodies, and the routes that take them. None has an idempotency key."""

from gateway.upstream.contract.model import Certainty, Field, Format, ObjectType, Recorded
from gateway.upstream.contract.route import Subject, Write

REMINDER = ObjectType(
    "Reminder",
    (
        Field("delay", "int", "Its unit is unknown.", recorded=Recorded.KEPT),
        Field("number_left", "int", recorded=Recorded.KEPT),
    ),
)

THREAD_UPDATE = ObjectType(
    "ThreadUpdate",
    (
        Field("comment", "str", "Where it can be read is unknown."),
        Field("customer_external_ids", "[str]"),
        Field("customer_ids", "[str]"),
        Field("reminder", "Reminder"),
        Field("status", "int", "How an integer reads back in `Thread.status` is unknown.", recorded=Recorded.KEPT),
        Field("tag_codes", "[str]"),
    ),
)
UPDATE_THREAD = Write(
    name="update_thread",
    template="/api/v1/thread/{id}",
    request="ThreadUpdate",
    response="Thread",
    purges=Subject("thread", by="id"),
)

UPLOAD = ObjectType("Upload", (Field("file", "str", format=Format.BASE64), Field("name", "str")), note="At most 10 MB.")
NEW_MESSAGE = ObjectType(
    "NewMessage",
    (
        Field("attachments", "[Upload]"),
        Field("bcc", "str", "Only contacts of the thread's customers."),
        Field("cc", "str", "Only contacts of the thread's customers."),
        Field("content", "str"),
        Field("delivery", "MessageDelivery"),
        Field("ext_msg_id", "str", "That it is read as `external_message_id` is inferred."),
        Field("from", "str"),
        Field("from_customer_id", "str"),
        Field("mailbox_id", "str"),
        Field("priority", "int", recorded=Recorded.KEPT),
        Field("read", "bool"),
        Field("reply_to_ext_msg_id", "str"),
        Field("set_reminder", "Reminder"),
        Field("subject", "str"),
        Field("thread_id", "str"),
        Field("to", "str", "Only contacts of the thread's customers."),
    ),
)
CREATE_MESSAGE = Write(
    name="message",
    template="/api/v1/message",
    request="NewMessage",
    response=None,
    status=204,
    purges=Subject("thread", by="thread_id"),
    note="The message may take up to a minute to leave the outbox. The answer does not name it.",
)

CHAT_TOKEN_REQUEST = ObjectType(
    "ChatTokenRequest",
    (
        Field("emails", "[str]"),
        Field("external_id", "str"),
        Field("from", "str"),
        Field("mailbox_id", "str"),
        Field("tags", "[str]"),
    ),
)
CHAT_TOKEN = ObjectType("ChatToken", (Field("expires_at", "int", recorded=Recorded.KEPT), Field("token", "str")))
CREATE_CHAT_TOKEN = Write(
    name="chat_token",
    template="/api/v1/chat/token",
    request="ChatTokenRequest",
    response="ChatToken",
    note="A token for an end user's chat widget.",
)

TOKEN_REQUEST = ObjectType(
    "TokenRequest",
    (Field("grant_type", "str", "Always `password`."), Field("username", "str"), Field("password", "str")),
)
TOKEN_BODY = ObjectType(
    "Token",
    (
        Field("access_token", "str", "Valid for 1 hour."),
        Field("expires_in", "int", "In seconds, if it is there.", certainty=Certainty.UNKNOWN, recorded=Recorded.KEPT),
    ),
    is_open=True,
)
TOKEN = Write(
    name="token",
    template="/api/v1/token",
    request="TokenRequest",
    response="Token",
    note="Too many calls with a wrong password lock the account, and only the vendor's support unlocks it.",
)
