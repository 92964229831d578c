"""Large documents by turns: what would take long in one go stops now and then, and lets the other operations on.

msgspec holds the interpreter while it works, so that a thread would not help. So a large document is decoded a few
items of its long lists at a time, and the reference executor is given those lists item by item.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

LARGE = 512 * 1024
"""Bytes from which on a document is read by turns. Below, it takes a few milliseconds."""

TURN_BYTES = 128 * 1024
"""How much is decoded in one turn, about."""

_TURN_SECONDS = 0.002
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class LongList(list[Any]):
    """A list of a large document, which nobody should walk through in one go."""


async def run_in_turns(work: Generator[None, None, T]) -> T:
    """Return the result of ``work``; whenever it stops, everybody else has a turn."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)


async def items_in_turns(items: list[Any]) -> AsyncIterator[Any]:
    """Yield each item; whoever takes them lets everybody else have a turn after two milliseconds."""
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > _TURN_SECONDS:
            await asyncio.sleep(0)
            begun = time.perf_counter()


def decode_in_turns(text: bytes | msgspec.Raw, turn: int = TURN_BYTES) -> Generator[None, None, Any]:
    """Return the JSON value of ``text``, its long lists as `LongList`; stop after ``turn`` bytes of items.

    Raises msgspec's errors.
    """
    begins = bytes(memoryview(text)[:64]).lstrip()[:1]
    if len(memoryview(text)) < turn or begins not in {b"{", b"["}:
        return msgspec.json.decode(text)
    if begins == b"{":
        record = {}
        for key, value in _MEMBERS.decode(text).items():
            record[key] = yield from decode_in_turns(value, turn)
        return record
    return (yield from _list_in_turns(_ITEMS.decode(text), turn))


def _list_in_turns(items: list[msgspec.Raw], turn: int) -> Generator[None, None, LongList]:
    values = LongList()
    taken = 0
    for item in items:
        values.append((yield from decode_in_turns(item, turn)))
        taken += len(memoryview(item))
        if taken >= turn:
            taken = 0
            yield
    return values
