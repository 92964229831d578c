"""``POST /api/v1/message``: sends a message, and finds it again by the id that the gateway gave it.

The response is a 204 without an id, and a message may take a minute to leave the outbox. So each message gets an
``ext_msg_id``. That the id stands in a thread's ``external_message_ids`` and a message's ``external_message_id`` is
inferred from their names: ``gochat-gateway check --write`` tries it.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import msgspec

from gateway.errors import GatewayError
from gateway.http1 import Response
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.contract import CREATE_MESSAGE
from gateway.upstream.writes.attachments import Content
from gateway.upstream.writes.outcome import Answer, Bodies, Outcome
from gateway.upstream.writes.write import Mutation, Reading

PAGE = 20
"""How many messages are searched at each end of a thread: whether the newest are first is not documented."""


class _Message(msgspec.Struct, gc=False):
    external_message_id: Any = None


class _Thread(msgspec.Struct, gc=False):
    """What a search reads of a thread: the rest is not decoded."""

    external_message_ids: Any = None
    last_message: _Message | None = None
    message_count: Any = None


class _Messages(msgspec.Struct, gc=False):
    messages: list[_Message | None] | None = None


_THREAD = msgspec.json.Decoder(_Thread)
_MESSAGES = msgspec.json.Decoder(_Messages)
_DecodedT = TypeVar("_DecodedT")


class Found(NamedTuple):
    """Whether a message is in its thread, and where it was found: as the last message, or in a page of messages."""

    present: bool
    is_last: bool = False
    page: tuple[int, int] | None = None
    """The offset and the limit of the page."""
    position: int = 0


async def find_message(
    ext_msg_id: str,
    load_thread: Callable[[], Awaitable[bytes | None]],
    load_page: Callable[[int, int], Awaitable[bytes | None]],
) -> Found:
    """Look for a message in its thread, and then among the newest messages: at most three loads.

    ``load_page`` takes the offset and the limit. The errors of the loads are raised; a body of another form has no
    message.
    """
    thread = _decoded(await load_thread(), _THREAD)
    if thread is None:
        return Found(present=False)
    if thread.last_message is not None and thread.last_message.external_message_id == ext_msg_id:
        return Found(present=True, is_last=True)
    for offset in _offsets(thread.message_count):
        page = _decoded(await load_page(offset, PAGE), _MESSAGES)
        for position, message in enumerate((page and page.messages) or ()):
            if message is not None and message.external_message_id == ext_msg_id:
                return Found(present=True, page=(offset, PAGE), position=position)
    ids = thread.external_message_ids
    return Found(present=isinstance(ids, list) and ext_msg_id in ids)


def _decoded(body: bytes | None, decoder: msgspec.json.Decoder[_DecodedT]) -> _DecodedT | None:
    try:
        return None if body is None else decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _offsets(count: Any) -> Iterator[int]:
    last = count - PAGE if isinstance(count, int) else 0
    if last > 0:
        yield last
    yield 0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One message; its body has ``ext_msg_id``."""

    thread_id: str | None
    ext_msg_id: str
    content: Content = field(repr=False)
    mutation: Mutation = "createMessage"

    async def look_before(self, client: UpstreamClient, call: CallContext) -> bytes | None:  # noqa: ARG002 - the protocol's
        """Return None: nobody else has the id of the message."""
        return None

    async def send(self, client: UpstreamClient, call: CallContext) -> Response:
        """Send it."""
        return await client.post(call, CREATE_MESSAGE, "", self.content)

    def settled(self, response: Response) -> Answer | None:
        """Return APPLIED for a 204."""
        return Answer(Outcome.APPLIED, thread_id=self.thread_id) if response.status == CREATE_MESSAGE.status else None

    async def read_back(self, reading: Reading, before: bytes | None) -> Answer:  # noqa: ARG002 - the protocol's
        """Return APPLIED if the message is in its thread, else UNKNOWN, after two looks."""
        return await self.look(reading, once=False)

    async def look(self, reading: Reading, *, once: bool = True) -> Answer:
        """Return APPLIED if the message is in its thread, else UNKNOWN."""
        if self.thread_id is None:
            return Answer(Outcome.UNKNOWN)
        search = _Search(reading, self.thread_id, self.ext_msg_id)
        applied = await (search.look() if once else reading.twice(search.look))
        shown = None if search.thread is None else self.thread_id
        outcome = Outcome.APPLIED if applied else Outcome.UNKNOWN
        return Answer(outcome, thread_id=shown, bodies=Bodies(search.thread, search.pages))


class _Search:
    """Looks for a message past cache and coalescing, and keeps the bodies of the last look."""

    def __init__(self, reading: Reading, thread_id: str, ext_msg_id: str) -> None:
        self._reading = reading
        self._thread_id = thread_id
        self._ext_msg_id = ext_msg_id
        self.thread: bytes | None = None
        self.pages: dict[tuple[int, int], bytes] = {}

    async def look(self) -> bool:
        return (await find_message(self._ext_msg_id, self._load_thread, self._load_page)).present

    async def _load_thread(self) -> bytes | None:
        self.pages.clear()
        try:
            body = await self._reading.client.thread(self._reading.call, self._thread_id)
        except GatewayError:
            return None
        self.thread = body or self.thread
        return body

    async def _load_page(self, offset: int, limit: int) -> bytes | None:
        try:
            body = await self._reading.client.messages(self._reading.call, self._thread_id, offset, limit)
        except GatewayError:
            return None
        if body is not None:
            self.pages[offset, limit] = body
        return body
