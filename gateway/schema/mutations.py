"""The mutations: from the input of each to its write, and from what is known of that to its payload."""

from collections.abc import Mapping
from typing import Annotated, Any

import strawberry

from gateway.errors import GatewayError
from gateway.schema.field_scopes import needs
from gateway.schema.inputs import (
    CreateChatTokenInput,
    CreateMessageInput,
    UpdateThreadInput,
    attachment_errors,
    encoded,
    key_of,
    rest_body,
    rest_names,
    status_errors,
)
from gateway.schema.payloads import (
    MESSAGE_CALLS,
    CreateChatTokenPayload,
    CreateMessagePayload,
    UpdateThreadPayload,
    payload,
)
from gateway.schema.resolvers.context import GatewayInfo, own_calls
from gateway.schema.resolvers.links import makes_calls
from gateway.schema.resolvers.records import Record
from gateway.upstream.contract import CREATE_CHAT_TOKEN, CREATE_MESSAGE, THREAD, UPDATE_THREAD, Route
from gateway.upstream.writes.chat_token import ChatTokenRequest
from gateway.upstream.writes.message import NewMessage
from gateway.upstream.writes.outcome import Answer, Outcome
from gateway.upstream.writes.thread_update import ThreadUpdate
from gateway.upstream.writes.write import Write
from gateway.upstream.writes.writer import ERROR, WRITE_SCOPE, Requested

# A look before the write, the write, and two looks after it.
_UPDATE_CALLS: Mapping[Route, int] = {UPDATE_THREAD: 1, THREAD: 3}
# The write, and two searches of the thread and two pages of messages.
_MESSAGE_CALLS: Mapping[Route, int] = {CREATE_MESSAGE: 1, **{route: 2 * most for route, most in MESSAGE_CALLS.items()}}
_TOKEN_CALLS: Mapping[Route, int] = {CREATE_CHAT_TOKEN: 1}

_UPDATE_NAMES = rest_names(UpdateThreadInput)
_MESSAGE_NAMES = rest_names(CreateMessageInput)
_TOKEN_NAMES = rest_names(CreateChatTokenInput)

_Update = Annotated[UpdateThreadInput, strawberry.argument(description="What to change.")]
_Message = Annotated[CreateMessageInput, strawberry.argument(description="The message.")]
_Token = Annotated[CreateChatTokenInput, strawberry.argument(description="For whom the token is.")]


async def _update_thread(info: GatewayInfo, input: _Update) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``POST /api/v1/thread/{id}``."""
    context = info.context
    context.writer.policy.require(context.viewer)
    errors = tuple(status_errors(input))
    if errors:
        return await payload(context, Answer(Outcome.NOT_APPLIED, errors))
    body = rest_body(input)
    write = ThreadUpdate(str(input.id), body, encoded(body), context.writer.statuses)
    return await payload(context, await _performed(info, write, _UPDATE_NAMES, key_of(input)))


async def _create_message(info: GatewayInfo, input: _Message) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``POST /api/v1/message``."""
    context = info.context
    context.writer.policy.require(context.viewer)
    errors = tuple(attachment_errors(input))
    if errors:
        return await payload(context, Answer(Outcome.NOT_APPLIED, errors))
    key, body = key_of(input), rest_body(input)
    thread_id = body.get("thread_id")
    if thread_id is not None:
        THREAD.path(thread_id)  # an id that cannot be in a path could not be read back
    ext_msg_id = context.writer.keys.ext_msg_id(context.viewer.caller, thread_id, key)
    write = NewMessage(thread_id, ext_msg_id, encoded({**body, "ext_msg_id": ext_msg_id}))
    return await payload(context, await _performed(info, write, _MESSAGE_NAMES, key), ext_msg_id)


async def _create_chat_token(info: GatewayInfo, input: _Token) -> Any:  # noqa: A002 - the argument's GraphQL name
    """``POST /api/v1/chat/token``."""
    context = info.context
    context.writer.policy.require(context.viewer)
    write = ChatTokenRequest(encoded(rest_body(input)))
    return await payload(context, await _performed(info, write, _TOKEN_NAMES, key_of(input)))


async def _performed(info: GatewayInfo, write: Write, names: Any, key: str | None) -> Answer:
    context = info.context
    requested = Requested(write, names, key, context.request_id)
    writes = context.execution.writes
    try:
        answer = await context.writer.perform(requested, own_calls(info))
    except GatewayError:
        writes.append((write.mutation, ERROR))
        raise
    writes.append((write.mutation, answer.outcome.value))
    return answer


def _mutation(resolver: Any, calls: Mapping[Route, int], description: str) -> Any:
    """A field whose ``calls`` begin with the write."""
    metadata: Record = {**makes_calls(calls), **needs(WRITE_SCOPE)}
    write = next(iter(calls))
    description = f"{description} REST: `POST {write.template}`."
    return strawberry.mutation(resolver=resolver, metadata=metadata, description=description)


@strawberry.type(description="What can be changed. Each field is sent to the REST API once, one after another.")
class Mutation:
    """The root of every mutation."""

    update_thread: UpdateThreadPayload | None = _mutation(_update_thread, _UPDATE_CALLS, "Changes a thread.")
    create_message: CreateMessagePayload | None = _mutation(
        _create_message, _MESSAGE_CALLS, "Sends a message. It may take a minute to leave the outbox."
    )
    create_chat_token: CreateChatTokenPayload | None = _mutation(
        _create_chat_token, _TOKEN_CALLS, "Creates a token for an end user's chat widget."
    )
