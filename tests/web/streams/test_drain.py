"""How open streams end before the gateway stops: a few at a time, and so that their clients come back elsewhere."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.graphql.streams.drain import MOST_PER_SECOND, OpenStreams, shares


@given(st.integers(0, 30_000), st.floats(0.001, 120))
def test_all_streams_end_and_no_second_ends_more_than_is_allowed(streams: int, seconds: float) -> None:
    steps = list(shares(streams, seconds))
    assert sum(share for _, share in steps) == streams
    times = [time for time, _ in steps]
    assert times == sorted(times)
    seen: Counter[int] = Counter()
    for time, share in steps:
        seen[int(time)] += share
    assert max(seen.values(), default=0) <= MOST_PER_SECOND


def test_a_delay_of_0_ends_all_at_once() -> None:
    assert list(shares(10_000, 0)) == [(0.0, 10_000)]


@pytest.mark.parametrize("streams", [10, 2500])
@pytest.mark.parametrize("seconds", [1, 5])
def test_the_ends_are_spread_over_the_whole_delay(streams: int, seconds: int) -> None:
    assert list(shares(streams, seconds))[-1][0] > 0.8 * seconds


@given(st.integers(0, 2500))
def test_it_takes_no_longer_than_the_delay_where_that_is_long_enough(streams: int) -> None:
    assert max((time for time, _ in shares(streams, 5)), default=0.0) <= 5


@pytest.mark.parametrize(("streams", "least", "most"), [(10_000, 19.9, 20.0), (5_000, 9.9, 10.0)])
def test_it_takes_longer_than_the_delay_where_there_are_too_many(streams: int, least: float, most: float) -> None:
    assert least <= list(shares(streams, 5))[-1][0] <= most


class Stream:
    def __init__(self, open_streams: OpenStreams) -> None:
        self.open_streams = open_streams

    def drain(self) -> None:
        self.open_streams.remove(self)


async def test_streams_end_one_after_another() -> None:
    open_streams = OpenStreams()
    over = asyncio.Event()

    class Last(Stream):
        def drain(self) -> None:
            super().drain()
            over.set()

    for stream in (Stream(open_streams), Last(open_streams)):
        open_streams.add(stream)
    assert open_streams.drain(0.1) == 0.05
    assert len(open_streams) == 1
    await over.wait()
    assert len(open_streams) == 0


async def test_streams_that_end_by_themselves_are_not_ended_again() -> None:
    open_streams = OpenStreams()
    streams = [Stream(open_streams) for _ in range(10)]
    for stream in streams:
        open_streams.add(stream)
    open_streams.remove(streams[0])
    assert open_streams.drain(0) == open_streams.drain(5) == 0.0
    assert len(open_streams) == 0
    open_streams.remove(streams[0])
