"""The proof of `python -m tests.live`, with a few tries."""

from pathlib import Path

import pytest

from tests.live.freshness import run


@pytest.mark.slow  # processes
def test_no_worker_serves_an_older_state_after_a_webhook(tmp_path: Path) -> None:
    report = run(12, 4, tmp_path)
    assert report.older == [], report
    assert (report.tries, report.restarts) == (12, 3)
