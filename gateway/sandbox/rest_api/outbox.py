"""Messages that are sent: who may receive them, and the body they are stored as."""

import base64
import binascii
import re
from typing import Final

from gateway.sandbox.fixtures.customers import Body
from gateway.sandbox.http.response import RefusedError
from gateway.sandbox.rest_api.request_bodies import NewMessage, Upload

ATTACHMENT_LIMIT: Final = 10 * 1024 * 1024
"""Bytes. The contract says 10 MB; which of the two MB it means is unknown."""


def check_recipients(new: NewMessage, thread: Body) -> None:
    """Refuse (422) an address that is not a contact of the thread or of its customers."""
    allowed = set(thread.get("contacts") or ())
    for customer in thread.get("customers") or ():
        allowed.update(_addresses(customer.get("contacts")))
    for field in (new.to, new.cc, new.bcc):
        if unknown := sorted(set(_addresses(field)) - allowed):
            message = f"Not a contact of the thread's customers: {', '.join(unknown)}."
            raise RefusedError(422, "recipient_not_allowed", message)


def message_body(new: NewMessage, ident: str, created_at: str) -> Body:
    """Return the stored form of a message; 422 for an attachment that is not base64 or is too big."""
    files = [_attachment(upload, f"{ident}-a{n}") for n, upload in enumerate(new.attachments or (), start=1)]
    return {
        "id": ident,
        "created_at": created_at,
        "attachments": files,
        "bcc": new.bcc,
        "cc": new.cc,
        "content": new.content,
        "delivery": new.delivery,
        "external_message_id": new.ext_msg_id,
        "from": new.from_,
        "mailbox_id": new.mailbox_id,
        "priority": new.priority,
        "reply_to_external_message_id": new.reply_to_ext_msg_id,
        "subject": new.subject,
        "to": new.to,
    }


def _attachment(upload: Upload, ident: str) -> Body:
    size = len(_decoded(upload))
    if size > ATTACHMENT_LIMIT:
        message = f"{upload.name!r} has {size} bytes; at most {ATTACHMENT_LIMIT} are allowed."
        raise RefusedError(422, "attachment_too_big", message)
    return {
        "id": ident,
        "file_name": upload.name,
        "file_size": size,
        "file_not_dangerous": None,  # not verified yet
        "attachment_movements": {"movements": [], "total": 0},
    }


def _decoded(upload: Upload) -> bytes:
    try:
        return base64.b64decode(upload.file, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise RefusedError(422, "attachment_not_base64", f"{upload.name!r} is not base64.") from exc


def _addresses(text: str | None) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", text or "") if part]
