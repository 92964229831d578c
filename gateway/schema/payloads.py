"""What a mutation answers: what is known of its write, and what is selected of the thread after it.

A payload is a record with the outcome, the ids of its thread and its message, and the REST bodies that were read on the
way. The thread is read through a loader that holds its body: so it is read as in a query.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import strawberry

from gateway.schema.resolvers.context import GatewayInfo, OperationContext, own_calls
from gateway.schema.resolvers.links import Link, Load, makes_calls
from gateway.schema.resolvers.pagination import Page
from gateway.schema.resolvers.records import Record, RestBody, belonging_to, read_object, read_objects
from gateway.schema.scalars import BigInt
from gateway.schema.types import THREAD_SOURCE, Message, Thread
from gateway.upstream.contract import MESSAGES, THREAD, Read, Route
from gateway.upstream.writes.message import NewMessage, find_message
from gateway.upstream.writes.outcome import Answer, Outcome

MESSAGE_CALLS: Mapping[Route, int] = {THREAD: 1, MESSAGES: 2}
"""The REST calls that finding a message takes at most: its thread, and two pages of messages."""


@strawberry.enum(description="What is known of a write.")
class WriteOutcome(Enum):
    """The outcomes, described for clients."""

    APPLIED = strawberry.enum_value("APPLIED", description="It was carried out.")
    NOT_APPLIED = strawberry.enum_value("NOT_APPLIED", description="It was refused, and changed nothing.")
    UNKNOWN = strawberry.enum_value(
        "UNKNOWN",
        description="It was sent, and nothing says what became of it. It may still take effect. Do not repeat it: look "
        "at the thread, or ask `messageOutcome`.",
    )


@strawberry.type(description="Why a write was refused.")
class WriteError:
    """One reason."""

    field: list[str] = strawberry.field(
        description="The path of the value in the `input`; empty where no single value is to blame."
    )
    code: str = strawberry.field(description="The REST API's code, or one of the gateway's.")
    message: str = strawberry.field(description="What is wrong, in the gateway's words.")


def _thread_of(_context: OperationContext, thread_id: str | None) -> Load | None:
    return None if thread_id is None else Load(THREAD_SOURCE, thread_id)


_THREAD = Link(_thread_of, (THREAD_SOURCE,), parent_key="thread_id")


async def _thread(root: strawberry.Parent[Record], info: GatewayInfo) -> Any:
    """``GET /api/v1/thread/{id}``, unless its body was read with the write."""
    return await _THREAD.follow(info.context, root)


async def _message(root: strawberry.Parent[Record], info: GatewayInfo) -> Any:
    """``GET /api/v1/thread/{id}``, and where its last message is another, the newest messages."""
    thread_id, ext_msg_id = root["thread_id"], root["ext_msg_id"]
    if thread_id is None or root["outcome"] != Outcome.APPLIED:
        return None
    loaders, read = info.context.loaders, root["bodies"]
    bodies: dict[tuple[int, int] | None, RestBody | None] = {}

    async def load_thread() -> bytes | None:
        return await load(None, read.thread, THREAD, None)

    async def load_page(offset: int, limit: int) -> bytes | None:
        return await load((offset, limit), read.pages.get((offset, limit)), MESSAGES, Page(offset, limit))

    async def load(place: tuple[int, int] | None, known: bytes | None, route: Read, page: Page | None) -> bytes | None:
        body = RestBody(known) if known else await loaders.of(route).load((thread_id, page))
        bodies[place] = body
        return None if body is None else body.content

    found = await find_message(ext_msg_id, load_thread, load_page)
    body = bodies.get(found.page)
    if body is None or not (found.is_last or found.page):
        return None
    if found.is_last:
        message = read_object(body.record(), "last_message")
    else:
        message = read_object({"message": read_objects(body.record(), "messages")[found.position]}, "message")
    thread = bodies[None]
    return message if message is None or thread is None else belonging_to(thread.record(), message)


def _outcome() -> Any:
    return strawberry.field(description="What is known of the write.")


def _errors() -> Any:
    return strawberry.field(description="Why it was refused; empty unless it is `NOT_APPLIED`.")


def _shown_thread() -> Any:
    return strawberry.field(
        resolver=_thread,
        metadata=_THREAD.metadata,
        description="The thread after the write; null if it was refused, or if reading it back failed.",
    )


def _shown_message() -> Any:
    return strawberry.field(
        resolver=_message,
        metadata=makes_calls(MESSAGE_CALLS),
        description="The message, once it is in its thread: it may take a minute to get there. REST: an item of "
        "`messages`.",
    )


@strawberry.type(description="The answer to `updateThread`.")
class UpdateThreadPayload:
    """A record with ``thread_id``."""

    outcome: WriteOutcome = _outcome()
    user_errors: list[WriteError] = _errors()
    thread: Thread | None = _shown_thread()


@strawberry.type(description="The answer to `createMessage`.")
class CreateMessagePayload:
    """A record with ``thread_id`` and ``ext_msg_id``."""

    outcome: WriteOutcome = _outcome()
    user_errors: list[WriteError] = _errors()
    message: Message | None = _shown_message()
    thread: Thread | None = _shown_thread()


@strawberry.type(description="The answer to `createChatToken`.")
class CreateChatTokenPayload:
    """A record with ``token`` and ``expires_at``."""

    outcome: WriteOutcome = _outcome()
    user_errors: list[WriteError] = _errors()
    token: str | None = strawberry.field(
        description="The token; null unless this answer is the first to its key. REST: `token`."
    )
    expires_at: BigInt | None = strawberry.field(
        description="When it expires. REST: `expires_at`, an integer whose unit is unknown."
    )


@strawberry.type(description="What is known by now of a message.")
class MessageOutcome:
    """A record with ``thread_id`` and ``ext_msg_id``."""

    outcome: WriteOutcome = strawberry.field(description="`UNKNOWN` until the message is in its thread.")
    message: Message | None = _shown_message()
    thread: Thread | None = _shown_thread()


async def payload(context: OperationContext, answer: Answer, ext_msg_id: str | None = None) -> Record:
    """Return the record of an answer to a mutation: what is loaded from now on is not older than that."""
    context.loaders.renew()
    return await _record(context, answer, ext_msg_id)


async def _record(context: OperationContext, answer: Answer, ext_msg_id: str | None) -> Record:
    bodies = answer.bodies
    if answer.thread_id is not None and bodies.thread is not None:
        await context.loaders.put(THREAD, (answer.thread_id, None), bodies.thread)
    token = answer.token
    return {
        "outcome": answer.outcome.value,
        "user_errors": [
            {"field": list(path), "code": code, "message": message} for path, code, message in answer.errors
        ],
        "thread_id": answer.thread_id,
        "ext_msg_id": ext_msg_id,
        "bodies": bodies,
        "token": None if token is None else token.token,
        "expires_at": None if token is None else token.expires_at,
    }


async def outcome_of_message(info: GatewayInfo, thread_id: str, key: str) -> Record:
    """Return the record of a message that was created with ``key``."""
    context = info.context
    THREAD.path(thread_id)  # an id that cannot be read is refused
    writer, caller = context.writer, context.viewer.caller
    ext_msg_id = writer.keys.ext_msg_id(caller, thread_id, key)
    message = NewMessage(thread_id, ext_msg_id, b"")
    return await _record(context, await writer.find(message, key, own_calls(info)), ext_msg_id)
