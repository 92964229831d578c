"""The inputs of the mutations. Attributes have the REST names, so that an input becomes the body of its request."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import strawberry

from gateway.compat.strawberry import input_names
from gateway.errors import BadUserInput
from gateway.schema.scalars import MessageDelivery, ThreadStatus, Upload
from gateway.upstream.writes.attachments import MAX_ATTACHMENT_BYTES, Content, json_of
from gateway.upstream.writes.outcome import InputError

T = TypeVar("T")

_NOT_SENT = frozenset({"id", "idempotency_key"})
_KEY = (
    "Names this change: the same key with the same input gets the first answer again for 24 hours, and nothing is sent "
    "twice. A random UUID is a good key."
)


def _field(description: str, *, name: str | None = None) -> Any:
    return strawberry.field(description=description, name=name, default=strawberry.UNSET)


@strawberry.input(description="When a thread comes back to the agents' attention.")
class ReminderInput:
    """REST: ``{delay, number_left}``."""

    delay: int | None = _field("The time between two reminders.")
    number_left: int | None = _field("How many reminders are left.")


@strawberry.input(description="A file to send with a message.")
class AttachmentInput:
    """REST: ``{file, name}``."""

    name: str | None = _field("The file's name. Of an upload, the name in its part unless this one is given.")
    file: str | None = _field("The file's content, 10 MB at most. Either this or `upload`.")
    upload: Upload | None = _field("The file as a part of a multipart request, 10 MB at most. Either this or `file`.")


@strawberry.input(description="What to change of a thread. What is left out or null stays as it is.")
class UpdateThreadInput:
    """REST: the body of ``POST /api/v1/thread/{id}``."""

    id: strawberry.ID = strawberry.field(description="The thread's id. REST: `id`, in the path.")
    comment: str | None = _field("A comment for the agents.")
    customer_external_ids: list[str] | None = _field(
        "The thread's customers, by the ids they have in your own systems."
    )
    customer_ids: list[str] | None = _field("The thread's customers, by their `id`.")
    reminder: ReminderInput | None = _field("When the thread comes back to attention.")
    status: ThreadStatus | None = _field("The status, as a number.")
    tag_codes: list[str] | None = _field("The thread's tags, by their codes.")
    idempotency_key: str | None = _field(_KEY)


@strawberry.input(description="A message to send.")
class CreateMessageInput:
    """REST: the body of ``POST /api/v1/message``, without ``ext_msg_id``, which the gateway chooses."""

    thread_id: strawberry.ID | None = _field("The thread that the message belongs to.")
    mailbox_id: str | None = _field("The mailbox that the message is sent from.")
    from_: str | None = _field("Who sends the message.", name="from")
    from_customer_id: str | None = _field("The customer who sends the message.")
    to: str | None = _field("Who the message is for.")
    cc: str | None = _field("Who gets a copy.")
    bcc: str | None = _field("Who gets a blind copy.")
    subject: str | None = _field("The subject line.")
    content: str | None = _field("The text.")
    delivery: MessageDelivery | None = _field("Whether the message is a draft, is sent, and the like.")
    priority: int | None = _field("The message's priority.")
    read: bool | None = _field("Whether the message counts as read.")
    reply_to_external_message_id: str | None = _field("The external id of the message that this one answers.")
    set_reminder: ReminderInput | None = _field("When the thread comes back to attention.")
    attachments: list[AttachmentInput] | None = _field("Files to send with the message.")
    idempotency_key: str | None = _field(f"{_KEY} `messageOutcome` asks for the message by it.")


@strawberry.input(description="For whom a chat token is.")
class CreateChatTokenInput:
    """REST: the body of ``POST /api/v1/chat/token``."""

    emails: list[str] | None = _field("The end user's addresses.")
    external_id: str | None = _field("The id that the end user has in your own systems.")
    from_: str | None = _field("Who the messages of the chat are from.", name="from")
    mailbox_id: str | None = _field("The mailbox of the chat.")
    tags: list[str] | None = _field("The tags of the chat's thread.")
    idempotency_key: str | None = _field(f"{_KEY} The token itself is not kept: only its outcome is given again.")


class RestType(NamedTuple):
    """An input, and the type of the contract that it becomes."""

    given: type
    body: str


REST_TYPES: Mapping[str, RestType] = {
    given.__name__: RestType(given, body)
    for given, body in (
        (ReminderInput, "Reminder"),
        (AttachmentInput, "Upload"),
        (UpdateThreadInput, "ThreadUpdate"),
        (CreateMessageInput, "NewMessage"),
        (CreateChatTokenInput, "ChatTokenRequest"),
    )
}
"""The inputs by name."""

_RENAMED = {"reply_to_external_message_id": "reply_to_ext_msg_id", "from_": "from"}
"""Attributes that the REST API names otherwise."""


def rest_names(kind: type) -> Mapping[str, str]:
    """Return the fields of an input by their REST names."""
    names = input_names(kind)
    return {_RENAMED.get(name, name): shown for name, shown in names.items() if name != "idempotency_key"}


def rest_body(given: Any) -> dict[str, Any]:
    """Return what an input gives, by REST names. Null is not sent: the REST API does not say what it means."""
    body = {}
    for each in fields(given):
        value = getattr(given, each.name)
        if value is None or value is strawberry.UNSET or each.name in _NOT_SENT:
            continue
        body[_RENAMED.get(each.name, each.name)] = _rest_value(value)
    return body


def _rest_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_rest_value(each) for each in value]
    if isinstance(value, AttachmentInput):
        upload = _given(value.upload)
        return {"name": _name(value), "file": value.file if upload is None else upload}
    return rest_body(value) if isinstance(value, ReminderInput) else value


def _given(value: T | None) -> T | None:
    return None if value is strawberry.UNSET else value


def _name(attachment: AttachmentInput) -> str | None:
    name, upload = _given(attachment.name), _given(attachment.upload)
    return (upload.name or None) if name is None and upload is not None else name


def encoded(body: Mapping[str, Any]) -> Content:
    """Return the JSON of a request; raise BadUserInput for text that has none."""
    try:
        return json_of(body)
    except UnicodeEncodeError as exc:
        raise BadUserInput("The input must be valid Unicode text, without lone surrogates.") from exc


def key_of(given: Any) -> str | None:
    """Return the idempotency key of an input, None where it has none."""
    key: str | None = _given(given.idempotency_key)
    return key


def status_errors(given: UpdateThreadInput) -> Iterator[InputError]:
    """Yield what is wrong with a status: the REST API takes integers only."""
    if isinstance(given.status, str):
        yield InputError(("status",), "INVALID", "The REST API takes a status as a number.")


def attachment_errors(given: CreateMessageInput) -> Iterator[InputError]:
    """Yield what is wrong with the attachments of a message."""
    for index, each in enumerate(given.attachments or ()):
        problem = _problem(each)
        if problem is not None:
            field, code, message = problem
            yield InputError(("attachments", str(index), *field), code, message)


def _problem(attachment: AttachmentInput) -> tuple[tuple[str, ...], str, str] | None:
    file, upload = _given(attachment.file), _given(attachment.upload)
    if (file is None) == (upload is None):
        return (), "INVALID", "An attachment has either `file` or `upload`."
    if _name(attachment) is None:
        return ("name",), "INVALID", "An attachment needs a name, unless it is an upload whose part has one."
    if file is None:
        return None
    if len(file) > MAX_ATTACHMENT_BYTES * 4 // 3 + 4:
        return ("file",), "TOO_LARGE", "An attachment has 10 MB at most."
    try:
        base64.b64decode(file, validate=True)
    except (binascii.Error, ValueError):
        return ("file",), "INVALID_BASE64", "The content of an attachment is Base64 (RFC 4648, section 4)."
    return None
