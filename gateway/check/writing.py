"""Writes a message on request: whether it is found again by the id that the gateway gives it is not documented."""

import asyncio
import re

import msgspec

from gateway.auth import Viewer
from gateway.check.finding import Finding, Level
from gateway.clock import Timing
from gateway.errors import GatewayError
from gateway.settings import Settings, UpstreamIdentity
from gateway.storage.shared import shared_by
from gateway.upstream.client import CallContext
from gateway.upstream.stack import build_client
from gateway.upstream.writes.idempotency import IdempotencyKeys
from gateway.upstream.writes.message import NewMessage
from gateway.upstream.writes.outcome import Answer, Outcome
from gateway.upstream.writes.write import Reading
from gateway.upstream.writes.writer import Requested, Writer

_TRIAL = "gochat-gateway check: this message tries whether messages are found by their external id."
# A message may take a minute to leave the outbox.
_OUTBOX_SECONDS = 90.0
_LOOKS = 30


async def try_to_write(settings: Settings, thread_id: str, timing: Timing) -> Finding:
    """Write a message to nobody, and look for it by its id until it has had time to leave the outbox."""
    subject = f"writing to {thread_id}"
    if settings.upstream.identity is UpstreamIdentity.PASSTHROUGH:
        text = "cannot be tried in passthrough mode. Set GATEWAY_UPSTREAM_IDENTITY to `service`, with an account."
        return Finding(Level.FAIL, subject, text)
    ext_msg_id = IdempotencyKeys(None).ext_msg_id("", thread_id, None)
    body = {"thread_id": thread_id, "ext_msg_id": ext_msg_id, "content": _TRIAL}
    message = NewMessage(thread_id, ext_msg_id, msgspec.json.encode(body))
    async with build_client(settings.upstream, settings.cache, shared_by(settings.cache)) as client:
        requested = Requested(message, {}, None, "check")
        deadline = asyncio.get_running_loop().time() + _OUTBOX_SECONDS
        call = CallContext(Viewer(None), deadline, fresh=True)
        try:
            written = await Writer(client, _no_purge, timing=timing).perform(requested, call)
        except GatewayError as exc:
            return Finding(Level.FAIL, subject, f"nothing was written: {exc.message}")
        if written.outcome is Outcome.NOT_APPLIED:
            codes = ", ".join(error.code for error in written.errors)
            return Finding(Level.FAIL, subject, f"nothing was written: the REST API refused it ({codes}).")
        reading = Reading(client, call, timing)
        for _ in range(_LOOKS):
            found = await message.look(reading)
            if found.outcome is Outcome.APPLIED:
                text = f"the message {ext_msg_id} was written, and is found by its id: in {_places(found, ext_msg_id)}"
                return Finding(Level.OK, subject, text)
            await timing.sleep(_OUTBOX_SECONDS / _LOOKS)
    text = (
        f"the message {ext_msg_id} was written ({written.outcome.value}), and is not found by its id after "
        f"{_OUTBOX_SECONDS:.0f} seconds. Look at the thread: if it is there, the REST API shows the id elsewhere, and "
        "lost answers to `createMessage` stay UNKNOWN. Please report it."
    )
    return Finding(Level.FAIL, subject, text)


def _places(found: Answer, ext_msg_id: str) -> str:
    """Return the names of the fields that have the id: `ext_msg_id` was written, and they were read."""
    bodies = b"".join([found.bodies.thread or b"", *found.bodies.pages.values()])
    patterns = {"external_message_ids": rb"\[[^]]*", "external_message_id": b""}
    names = [
        f"`{name}`"
        for name, before in patterns.items()
        if re.search(b'"%b"\\s*:\\s*%b"%b"' % (name.encode(), before, ext_msg_id.encode()), bodies)
    ]
    return ", ".join(names)


async def _no_purge(_subject: str) -> None:
    """Nothing is cached here."""
