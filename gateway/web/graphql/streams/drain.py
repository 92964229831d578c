"""Ends open streams before the gateway stops, a few at a time: their clients come back at once, to another gateway."""

import asyncio
from collections.abc import Iterator
from math import ceil
from typing import Protocol

MOST_PER_SECOND = 500
"""Faster, and the clients that come back would be too many at once for the other gateways."""

_STEPS_PER_SECOND = 20


class Stream(Protocol):
    """A stream that can be ended."""

    def drain(self) -> None:
        """End it, in a way that its client opens another; soon, but not in the middle of a query or a mutation."""


class OpenStreams:
    """The streams of this process that are open."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Stream) -> None:
        """Add a stream that has begun."""
        self._streams[stream] = None

    def remove(self, stream: Stream) -> None:
        """Remove one that is over; it may be gone already."""
        self._streams.pop(stream, None)

    def drain(self, seconds: float) -> float:
        """End all streams within ``seconds``, or as fast as is allowed, and return how many seconds that takes.

        With 0 it ends them all at once.
        """
        streams = list(self._streams)
        loop = asyncio.get_running_loop()
        last = 0.0
        for last, share in shares(len(streams), seconds):
            ending, streams = streams[:share], streams[share:]
            if last:
                loop.call_later(last, _drain, ending)
            else:
                _drain(ending)
        return last


def shares(streams: int, seconds: float) -> Iterator[tuple[float, int]]:
    """Yield after how many seconds how many of the streams are ended."""
    if seconds <= 0:
        yield 0.0, streams
        return
    steps = max(ceil(seconds * _STEPS_PER_SECOND), ceil(streams / (MOST_PER_SECOND // _STEPS_PER_SECOND)))
    for step in range(steps):
        share = streams * (step + 1) // steps - streams * step // steps
        if share:
            yield step / _STEPS_PER_SECOND, share


def _drain(streams: list[Stream]) -> None:
    for stream in streams:
        stream.drain()
