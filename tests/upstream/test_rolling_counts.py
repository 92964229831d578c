"""The counts of the last seconds, of which the circuit breaker and the retries take their shares."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.transports.rolling_counts import RollingCounts
from tests.harness import Clock
from tests.selection import PROPERTY_CASES

WINDOW = 10.0


@settings(max_examples=PROPERTY_CASES, deadline=None)
@given(
    window=st.sampled_from([1.0, WINDOW, 300.0]),
    events=st.lists(st.tuples(st.sampled_from([0.0, 0.04, 0.1, 0.3, 0.9, 1.1]), st.booleans()), max_size=30),
)
def test_an_event_counts_for_the_window(window: float, events: list[tuple[float, bool]]) -> None:
    """The pauses are in windows."""
    clock = Clock()
    counts = RollingCounts(window, clock)
    added: list[tuple[float, bool]] = []
    for pause, marked in events:
        clock.now += pause * window
        counts.add(marked=marked)
        added.append((clock.now, marked))
        # It moves in tenths, so that an event of the oldest one may count or not.
        for value, of in ((counts.total, added), (counts.marked, [each for each in added if each[1]])):
            certain = sum(when > clock.now - window * 0.89 for when, _ in of)
            assert certain <= value <= sum(when >= clock.now - window * 1.01 for when, _ in of)
    clock.now += window * 1.01
    assert (counts.total, counts.marked) == (0, 0)


def test_cleared_counts_are_zero() -> None:
    counts = RollingCounts(WINDOW, Clock())
    counts.add(marked=True)
    counts.clear()
    assert (counts.total, counts.marked) == (0, 0)
