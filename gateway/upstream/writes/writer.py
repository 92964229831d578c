"""Performs writes. Each has a task of its own, which neither a client that hangs up nor a worker that drains cancels.

look before ──▶ send once ──a response that settles it──▶ purge ──▶ answer
                    ├──an error before anything was sent, or a refusal──▶ raised, or NOT_APPLIED
                    └──anything else──▶ read back, past cache and coalescing ──▶ purge ──▶ APPLIED or UNKNOWN
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import get_args

from prometheus_client.core import Metric

from gateway.auth import Viewer
from gateway.clock import REAL_TIME, Timing
from gateway.errors import Forbidden, GatewayError, MutationsDisabled
from gateway.http1 import Response
from gateway.storage.uploaded_file import UploadedFile
from gateway.telemetry import log_fields, logger
from gateway.telemetry.metrics import Labels, counter
from gateway.upstream.client import CallContext, UpstreamClient
from gateway.upstream.response import error_of, leaves_doubt
from gateway.upstream.writes.attachments import StreamedJson
from gateway.upstream.writes.idempotency import IdempotencyKeys, KeyedWrite, Subject
from gateway.upstream.writes.message import NewMessage
from gateway.upstream.writes.outcome import Answer, Outcome
from gateway.upstream.writes.refusal import refusal
from gateway.upstream.writes.thread_update import StatusReadings
from gateway.upstream.writes.write import Mutation, Reading, Write, time_to_look, time_to_read, time_to_send

WRITE_SCOPE = "chat:write"
"""What a caller needs to write in service mode."""

ERROR = "ERROR"
"""In place of an outcome: nothing was written, and the mutation is an error."""


@dataclass(frozen=True, slots=True)
class WritePolicy:
    """Whether anybody may write, and the scope that a caller needs for it."""

    enabled: bool = False
    scope: str | None = None

    def require(self, viewer: Viewer) -> None:
        """Raise MutationsDisabled or Forbidden if ``viewer`` may not write."""
        if not self.enabled:
            raise MutationsDisabled
        if self.scope is not None and self.scope not in viewer.scopes:
            raise Forbidden(f"Mutations need the scope {self.scope}.")


@dataclass(frozen=True, slots=True)
class Requested:
    """A write that a caller requests. ``names`` are the fields of its input by their REST names."""

    write: Write
    names: Mapping[str, str]
    key: str | None
    request_id: str


class Writer:
    """Performs the writes of one worker.

    ``publish`` is given the id of a thread that was written. Reads that begin after it has returned get nothing older.
    """

    def __init__(
        self,
        client: UpstreamClient,
        publish: Callable[[str], Awaitable[object]],
        *,
        policy: WritePolicy | None = None,
        keys: IdempotencyKeys | None = None,
        timing: Timing = REAL_TIME,
    ) -> None:
        self._client = client
        self._publish = publish
        self._timing = timing
        self._running: set[asyncio.Task[Answer]] = set()
        self.policy = policy or WritePolicy()
        self.keys = keys or IdempotencyKeys(None)
        self.statuses = StatusReadings()
        self.outcomes: Counter[Labels] = Counter()
        """How many writes there were, by mutation and outcome."""

    async def perform(self, requested: Requested, call: CallContext) -> Answer:
        """Return what is known of the write. A GatewayError means that nothing was written."""
        content = requested.write.content
        files = tuple(content.files) if isinstance(content, StreamedJson) else ()
        for file in files:
            file.hold()  # the request that brought it may be over before the write is
        task = asyncio.create_task(self._counted(requested, call), name=requested.write.mutation)
        self._running.add(task)
        task.add_done_callback(partial(self._ended, files))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(partial(_log_without_client, requested))
            raise

    async def find(self, message: NewMessage, key: str, call: CallContext) -> Answer:
        """Return what is known by now of a message that was created with ``key``."""
        subject = Subject(call.viewer.caller, message.mutation, message.thread_id or "")
        known = await self.keys.outcome(subject, key)
        found = await message.look(self._reading(call))
        return found if known is None or known is Outcome.UNKNOWN else replace(found, outcome=known)

    async def aclose(self) -> None:
        """Wait for the writes that are under way. Each of them ends at its deadline."""
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, files: Iterable[UploadedFile], task: asyncio.Task[Answer]) -> None:
        self._running.discard(task)
        for file in files:
            file.release()

    async def _counted(self, requested: Requested, call: CallContext) -> Answer:
        outcome = ERROR
        try:
            answer = await self._answer(requested, call)
            outcome = answer.outcome.value
        finally:
            self.outcomes[requested.write.mutation, outcome] += 1
        return answer

    async def _answer(self, requested: Requested, call: CallContext) -> Answer:
        write = requested.write
        work = partial(self._write_once, requested, call)
        if requested.key is None:
            return await work()
        subject = Subject(call.viewer.caller, write.mutation, write.thread_id or "")
        seconds = time_to_send(call).deadline - asyncio.get_running_loop().time()
        content = write.content
        compared = content.fingerprint if isinstance(content, StreamedJson) else content
        keyed = KeyedWrite(requested.key, subject, compared)
        answer = await self.keys.perform(keyed, seconds, work, partial(self._read_back, write, call, None))
        if answer.outcome is Outcome.NOT_APPLIED or answer.thread_id is not None:
            return answer
        return replace(answer, thread_id=write.thread_id)

    async def _write_once(self, requested: Requested, call: CallContext) -> Answer:
        write, sending = requested.write, time_to_send(call)
        before = await write.look_before(self._client, time_to_look(sending))
        try:
            response = await write.send(self._client, sending)
        except GatewayError as exc:
            if not exc.in_doubt:
                raise
            answer = None
        else:
            answer = _settled(requested, response)
        if answer is None:
            return await self._read_back(write, call, before)
        await self._purge(write)
        return answer

    async def _read_back(self, write: Write, call: CallContext, before: bytes | None) -> Answer:
        answer = await write.read_back(self._reading(call), before)
        await self._purge(write)
        return answer

    def _reading(self, call: CallContext) -> Reading:
        return Reading(self._client, time_to_read(call), self._timing)

    async def _purge(self, write: Write) -> None:
        """Purge the thread before the write is answered: reads that begin later get nothing older."""
        if write.thread_id is not None:
            await self._publish(write.thread_id)


def _settled(requested: Requested, response: Response) -> Answer | None:
    """Return the answer that a response gives, None if it leaves the outcome open; raise the error of a refusal."""
    if 200 <= response.status <= 299:
        return requested.write.settled(response)
    refused = refusal(response, requested.names)
    if refused is not None:
        return refused
    if leaves_doubt(response.status):
        return None
    raise error_of(response)


def _log_without_client(requested: Requested, task: asyncio.Task[Answer]) -> None:
    """Log the outcome of a write whose client is gone: its operation was logged before."""
    failed = None if task.cancelled() else task.exception()
    if failed is not None and not isinstance(failed, GatewayError):
        logger.error("a write failed", exc_info=failed)
    outcome = ERROR if failed is not None or task.cancelled() else task.result().outcome.value
    fields = {"requestId": requested.request_id, "mutation": requested.write.mutation, "outcome": outcome}
    log_fields(logging.INFO, "write without client", fields)


def writer_metrics(writer: Writer) -> Iterator[Metric]:
    """Yield how many writes there were."""
    yield counter(
        "mutations",
        "Mutations by name and outcome; ERROR: nothing was written.",
        ("mutation", "outcome"),
        writer.outcomes,
        list(product(get_args(Mutation), (*(each.value for each in Outcome), ERROR))),
    )
