"""``POST /api/v1/chat/token``: gets a token for an end user's chat widget. It cannot be read back.

Apart, as each write is.
"""

from dataclasses import dataclass, field

import msgspec

from gateway.http1 import Response
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import CREATE_CHAT_TOKEN
from gateway.upstream.writes.attachments import Content
from gateway.upstream.writes.outcome import Answer, ChatToken, Outcome
from gateway.upstream.writes.write import Mutation, Reading


class _Body(msgspec.Struct):
    token: str
    expires_at: int | None = None

    def __repr__(self) -> str:
        return "_Body()"


@dataclass(frozen=True, slots=True)
class ChatTokenRequest:
    """One request for a token."""

    content: Content = field(repr=False)
    mutation: Mutation = "createChatToken"
    thread_id: str | None = None

    async def look_before(self, client: UpstreamClient, call: CallContext) -> bytes | None:  # noqa: ARG002 - the protocol's
        """Return None: there is nothing to compare."""
        return None

    async def send(self, client: UpstreamClient, call: CallContext) -> Response:
        """Send it."""
        return await client.post(call, CREATE_CHAT_TOKEN, "", self.content)

    def settled(self, response: Response) -> Answer | None:
        """Return APPLIED for a 200 with a token."""
        if response.status != CREATE_CHAT_TOKEN.status:
            return None
        try:
            body = msgspec.json.decode(response.body, type=_Body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return Answer(Outcome.APPLIED, token=ChatToken(body.token, body.expires_at)) if body.token else None

    async def read_back(self, reading: Reading, before: bytes | None) -> Answer:  # noqa: ARG002 - the protocol's
        """Return UNKNOWN: the REST API does not show its tokens again."""
        return Answer(Outcome.UNKNOWN)
