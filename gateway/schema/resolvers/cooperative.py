"""Cooperative scheduling: work on a large REST body yields to the other operations now and then.

msgspec holds the interpreter lock while it works, so that a thread would not help. So a large body is decoded a few
items of its long lists at a time, and the reference executor gets those lists item by item.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

LARGE_BYTES = 512 * 1024
"""The size from which a body is processed cooperatively. A smaller one takes a few milliseconds."""

YIELD_BYTES = 128 * 1024
"""How many bytes are decoded between two yields, about."""

_YIELD_SECONDS = 0.002
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class LongList(list[Any]):
    """A list of a large body. Code that walks through it has to yield."""


async def run_cooperatively(work: Generator[None, None, T]) -> T:
    """Return the result of ``work``. At each of its yields, other tasks run."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)


async def iterate_cooperatively(items: list[Any]) -> AsyncIterator[Any]:
    """Yield each item. After two milliseconds, other tasks run."""
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > _YIELD_SECONDS:
            await asyncio.sleep(0)
            begun = time.perf_counter()


def decode_cooperatively(text: bytes | msgspec.Raw, yield_bytes: int = YIELD_BYTES) -> Generator[None, None, Any]:
    """Return the JSON value of ``text``, its long lists as `LongList`; yield after ``yield_bytes`` of items.

    Raises msgspec's errors.
    """
    begins = bytes(memoryview(text)[:64]).lstrip()[:1]
    if len(memoryview(text)) < yield_bytes or begins not in {b"{", b"["}:
        return msgspec.json.decode(text)
    if begins == b"{":
        record = {}
        for key, value in _MEMBERS.decode(text).items():
            record[key] = yield from decode_cooperatively(value, yield_bytes)
        return record
    return (yield from _decode_list(_ITEMS.decode(text), yield_bytes))


def _decode_list(items: list[msgspec.Raw], yield_bytes: int) -> Generator[None, None, LongList]:
    values = LongList()
    size = 0
    for item in items:
        values.append((yield from decode_cooperatively(item, yield_bytes)))
        size += len(memoryview(item))
        if size >= yield_bytes:
            size = 0
            yield
    return values
