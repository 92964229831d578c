"""A short storm; `uv run python -m tests.storm --count 10000` is a long one."""

import os
from pathlib import Path

import pytest

from tests.storm.storm import storm

COUNT = int(os.environ.get("STORM_MUTATIONS", "150"))


@pytest.mark.slow
def test_no_write_is_sent_twice_and_every_answer_is_true(tmp_path: Path) -> None:
    report = storm(tmp_path, COUNT, seed=1)
    assert not report.broken, str(report)
    assert len(report.told) == COUNT
    assert {each.outcome for each in report.told} >= {"APPLIED", "NOT_APPLIED", "UNKNOWN"}
