"""The proofs of `python -m tests.live`, each with little of everything."""

import pytest

from tests.live.proofs import fan_out, freshness, idle, soak
from tests.programs import Start

pytestmark = pytest.mark.slow  # processes


def test_no_worker_serves_an_older_state_after_a_webhook(begin: Start) -> None:
    report = freshness.prove(12, 4, begin)
    assert report.older == [], report
    assert (report.tries, report.restarts, report.subscribers) == (12, 3, 8)


@pytest.mark.parametrize("credentials", [0, 40])
def test_an_event_costs_a_call_for_each_credential_whatever_the_number_of_subscribers(
    begin: Start, credentials: int
) -> None:
    report = fan_out.measure(120, credentials, 3, begin)
    assert report.broken() == [], report
    assert len(report.deliveries) == 360


def test_clients_that_take_nothing_hold_up_nobody(begin: Start) -> None:
    report = fan_out.measure(20, 0, 10, begin, stalled=10, size=100_000)
    assert report.broken() == [], report
    assert len(report.deliveries) == 100


def test_idle_sockets_stay_open(begin: Start) -> None:
    report = idle.measure(100, 10, begin, heartbeat=1)
    assert report.lost == 0, report


def test_everything_goes_wrong_and_every_client_ends_at_the_last_state(begin: Start) -> None:
    report = soak.soak(0.25, begin)
    assert report.broken == [], report
    assert report.changes > 0
    assert len(report.memory) > 5
