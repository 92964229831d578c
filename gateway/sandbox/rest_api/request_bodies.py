"""The request bodies of the contract. A field that the contract does not name is an error."""

from typing import Literal, TypeVar

import msgspec

from gateway.sandbox.http.response import RefusedError

_Body = TypeVar("_Body", bound=msgspec.Struct)


class Reminder(msgspec.Struct, forbid_unknown_fields=True):
    """When a thread returns to the agents, and how often; the unit of `delay` is unknown."""

    delay: int | None = None
    number_left: int | None = None


class ThreadUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/v1/thread/{id}`."""

    comment: str | None = None
    customer_external_ids: list[str] | None = None
    customer_ids: list[str] | None = None
    reminder: Reminder | None = None
    status: int | None = None
    tag_codes: list[str] | None = None


class Upload(msgspec.Struct, forbid_unknown_fields=True):
    """A file sent with a message, in base64."""

    file: str
    name: str


class NewMessage(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/v1/message`."""

    attachments: list[Upload] | None = None
    bcc: str | None = None
    cc: str | None = None
    content: str | None = None
    delivery: int | str | None = None
    ext_msg_id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    from_customer_id: str | None = None
    mailbox_id: str | None = None
    priority: int | None = None
    read: bool | None = None
    reply_to_ext_msg_id: str | None = None
    set_reminder: Reminder | None = None
    subject: str | None = None
    thread_id: str | None = None
    to: str | None = None


class ChatTokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/v1/chat/token`."""

    emails: list[str] | None = None
    external_id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    mailbox_id: str | None = None
    tags: list[str] | None = None


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/v1/token`."""

    grant_type: Literal["password"]
    username: str
    password: str


def parse(body: bytes, kind: type[_Body]) -> _Body:
    """Decode a request body.

    Raises `RefusedError`: 400 for a body that is not JSON, 422 for JSON of another shape.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise RefusedError(422, "validation_failed", str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RefusedError(400, "malformed_json", str(exc)) from exc
