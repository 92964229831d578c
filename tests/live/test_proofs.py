"""The proofs of `python -m tests.live`, each with little of everything."""

from pathlib import Path

import pytest

from tests.live.proofs import freshness

pytestmark = pytest.mark.slow  # processes


def test_no_worker_serves_an_older_state_after_a_webhook(tmp_path: Path) -> None:
    report = freshness.prove(12, 4, tmp_path)
    assert report.older == [], report
    assert (report.tries, report.restarts) == (12, 3)
