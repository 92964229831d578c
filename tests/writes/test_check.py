"""``check --write`` tries whether a message is found again by the id that the gateway gives it."""

import pytest

from gateway.check import Finding, check
from gateway.sandbox import ABSENT, Fault, Sandbox
from tests.harness import SERVICE, Clock, settings
from tests.programs import Start, outcome


def found(upstream: str, clock: Clock, **options: str) -> Finding:
    """Return what writing to th-1 came to."""
    return check(settings(upstream_url=upstream, **{**SERVICE, **options}), "th-1", clock.timing)[-1]


def test_a_message_is_written_and_found(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    finding = found(upstream, clock)
    assert (finding.ok, finding.subject) == (True, "writing to th-1")
    places = "`external_message_ids`, `external_message_id`"
    assert finding.text.endswith(f"was written, and is found by its id: in {places}")
    assert sandbox.count("message") == 1


@pytest.mark.slow
def test_the_command_says_that_it_writes(begin: Start, upstream: str, sandbox: Sandbox) -> None:
    code, out, err = outcome(begin("check", "--write", "th-1", upstream_url=upstream, **SERVICE))
    assert code == 0, out
    assert err == "note  this writes a message to the thread th-1\n"
    assert "ok    writing to th-1: the message gg-" in out
    assert sandbox.count("message") == 1


@pytest.mark.parametrize(
    ("faults", "place"),
    [
        ([Fault("thread", "th-1", patch={"external_message_ids": ABSENT})], "`external_message_id`"),
        (
            [
                Fault("thread", "th-1", patch={"last_message": None}),
                Fault("messages", "th-1", body='{"messages": []}'),
            ],
            "`external_message_ids`",
        ),
        ([Fault("thread", "th-1", patch={"external_message_ids": 1, "last_message": None})], "`external_message_id`"),
    ],
)
def test_it_is_said_where_the_id_is_found(
    upstream: str, sandbox: Sandbox, clock: Clock, faults: list[Fault], place: str
) -> None:
    sandbox.faults.add(*faults)
    finding = found(upstream, clock)
    assert finding.ok
    assert finding.text.endswith(f"is found by its id: in {place}")


def test_a_message_that_is_not_found_is_said_so(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.store.outbox_delay = 1000
    finding = found(upstream, clock)
    assert not finding.ok
    assert "is not found by its id after 90 seconds" in finding.text
    assert sum(clock.slept) >= 90


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("message", status=403), "nothing was written: The credentials do not give access"),
        (Fault("message", status=422), "nothing was written: the REST API refused it (sandbox_422)"),
    ],
)
def test_a_refused_message_is_said_so(upstream: str, sandbox: Sandbox, clock: Clock, fault: Fault, says: str) -> None:
    sandbox.faults.add(fault)
    finding = found(upstream, clock)
    assert not finding.ok
    assert says in finding.text


def test_nothing_is_written_after_another_failure(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    finding = found(upstream, clock, upstream_password="wrong")
    assert (finding.ok, finding.subject) == (False, "credentials")
    assert sandbox.count("message") == 0


def test_passthrough_has_no_account_to_write_with(upstream: str, sandbox: Sandbox, clock: Clock) -> None:
    finding = check(settings(upstream_url=upstream), "th-1", clock.timing)[-1]
    assert not finding.ok
    assert "cannot be tried in passthrough mode" in finding.text
    assert sandbox.count("message") == 0
