"""The bus among gateways: a stream in Redis that every process reads on its own.

A stream and not pub/sub, which loses messages silently: a reader knows its place, and can tell that it is gone. There
is no consumer group, because every process has to get every event. A reader begins with an entry of its own, so that it
has a place from the beginning:

    add own entry ─▶ read from there ─▶ apply ─▶ …
         ▲                │
         └── purge everything, read everything again ◀── connection lost, or the place is gone (restart, flush, trimmed)

While the connection is lost, nothing is served from the cache: Redis may come back with what it had an hour ago.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from gateway.events.bus import Consumer, Gap
from gateway.events.event import Event
from gateway.storage.shared import Redis
from gateway.telemetry import Counts, logger

T = TypeVar("T")

_STREAM = "gochat-gateway:events"
_READERS = "gochat-gateway:event-readers"
_APPLIED = "gochat-gateway:applied:"
_MAX_ENTRIES = 10_000
_ENTRIES_PER_READ = 100
_BLOCK_SECONDS = 1.0
# An event may take so long to be added: a webhook has to be answered within a second.
_ADD_SECONDS = 0.8
# A reader may wait longer: on a busy machine its event loop can be late.
_COMMAND_SECONDS = 3.0
_CONNECT_AGAIN_SECONDS = 0.05
_WAIT_SECONDS = 1.0
_WAIT_POLL_SECONDS = 0.002
# A reader that did not say for so long that it is alive counts as dead.
_DEAD_AFTER_MILLISECONDS = 3000


class RedisBus:
    """Carries events to all processes that use the same Redis."""

    def __init__(self, redis: Redis, counts: Counts) -> None:
        # redis-py ignores the timeout of a socket in a command that blocks, so each command has one here.
        self._client = redis.dedicated()
        self._counts = counts
        self._name = secrets.token_hex(8)
        self._is_following = False
        self._said_alive_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self, consumer: Consumer) -> None:
        """Carry events to ``consumer`` from now on, or else as soon as Redis responds."""
        following = asyncio.Event()
        self._task = asyncio.create_task(self._read(consumer, following), name="events")
        await following.wait()

    async def publish(self, event: Event, *, wait: bool = False) -> bool:
        """Add the event to the stream."""
        key = f"{_APPLIED}{secrets.token_hex(8)}" if wait else ""
        try:
            place = await self._add({"event": msgspec.json.encode(event), "applied": key})
            if wait:
                await self._applied(key, place)
        except _failures() as exc:
            self._counts["redis_failures: events"] += 1
            logger.warning("Redis does not take an event (%s)", type(exc).__name__)
            return False
        return True

    async def _add(self, fields: dict[str, Any]) -> str:
        adding = self._client.xadd(_STREAM, fields, maxlen=_MAX_ENTRIES, approximate=True)
        place = await _within(adding, _ADD_SECONDS)
        return str(place.decode())

    async def _applied(self, key: str, place: str) -> None:
        """Return when all live readers have applied the entry at ``place``, or a second is over."""
        alive = int(place.partition("-")[0]) - _DEAD_AFTER_MILLISECONDS
        with contextlib.suppress(*_failures()):
            async with asyncio.timeout(_WAIT_SECONDS):
                while True:
                    pipeline = self._client.pipeline(transaction=False).zcount(_READERS, alive, "+inf").llen(key)
                    readers, applied = await pipeline.execute()
                    if applied >= readers:
                        return
                    await asyncio.sleep(_WAIT_POLL_SECONDS)

    async def _read(self, consumer: Consumer, following: asyncio.Event) -> None:
        """Follow the stream; after each failure begin again."""
        is_first = True
        while True:
            try:
                await self._follow(consumer, following, was_away=not is_first)
            except Exception as exc:  # noqa: BLE001 - a reader that has ended would hear of no event any more
                if not isinstance(exc, _failures()):
                    logger.error("the reader of events failed and begins again", exc_info=exc)
                elif self._is_following or is_first:
                    logger.warning("Redis does not carry events (%s): nothing is cached until then", type(exc).__name__)
                self._is_following = is_first = False
                self._counts["redis_failures: events"] += 1
                await consumer.lose()
                following.set()
            await asyncio.sleep(_CONNECT_AGAIN_SECONDS)

    async def _follow(self, consumer: Consumer, following: asyncio.Event, *, was_away: bool) -> None:
        place = await self._add({"reader": self._name})
        self._said_alive_at = float("-inf")
        if was_away:
            await self._resynchronise(consumer, "redis")
        self._is_following = True
        following.set()
        while True:
            await self._say_alive()
            entries = await self._next(place)
            if not await _within(self._client.xrange(_STREAM, place, place)):
                place = await self._add({"reader": self._name})
                await self._resynchronise(consumer, "place gone")
                continue
            for entry, fields in entries:
                await self._apply(consumer, fields)
                place = entry.decode()

    async def _resynchronise(self, consumer: Consumer, reason: Gap) -> None:
        if not await consumer.resynchronise(reason):
            raise TimeoutError

    async def _next(self, place: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        milliseconds = int(_BLOCK_SECONDS * 1000)
        reading = self._client.xread({_STREAM: place}, count=_ENTRIES_PER_READ, block=milliseconds)
        reply: Any = await _within(reading, _BLOCK_SECONDS + _COMMAND_SECONDS)
        return [entry for _stream, entries in reply for entry in entries]

    async def _apply(self, consumer: Consumer, fields: dict[bytes, bytes]) -> None:
        content = fields.get(b"event")
        if content is None:
            return
        try:
            event = msgspec.json.decode(content, type=Event)
        except msgspec.MsgspecError:  # of a later version of the gateway
            event = Event(everything=True)
        await consumer.apply(event)
        key = fields.get(b"applied")
        if key:
            pipeline = self._client.pipeline(transaction=False).rpush(key, self._name).expire(key, 10)
            await _within(pipeline.execute())

    async def _say_alive(self) -> None:
        """Register this reader now and then, by the time of Redis: clocks of gateways may differ."""
        clock = asyncio.get_running_loop().time()
        if clock - self._said_alive_at < _BLOCK_SECONDS:
            return
        self._said_alive_at = clock
        seconds, microseconds = await _within(self._client.time())
        now = seconds * 1000 + microseconds // 1000
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zadd(_READERS, {self._name: now})
        pipeline.zremrangebyscore(_READERS, 0, now - 20 * _DEAD_AFTER_MILLISECONDS)
        await _within(pipeline.execute())

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
        with contextlib.suppress(*_failures()):
            await _within(self._client.zrem(_READERS, self._name))
        await self._client.aclose()


async def _within(command: Awaitable[T], seconds: float = _COMMAND_SECONDS) -> T:
    async with asyncio.timeout(seconds):
        return await command


def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError  # noqa: PLC0415 - importing redis takes a tenth of a second

    return (RedisError, OSError, TimeoutError, ValueError)
