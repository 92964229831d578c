"""The limit of open files: raised at the start, compared with the settings, and a shortage in the log once."""

import errno
import logging
import resource

import pytest

from gateway.telemetry import Shortage, is_shortage
from tests.harness import SERVICE, Clock
from tests.programs import MODULE, Start, serving


def limited(number: int, option: str) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit {option} {number} && exec "$@"', "sh", *MODULE)


def test_the_limit_is_raised_as_far_as_is_allowed(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", command=limited(300, "-S -n"), **SERVICE, upstream_url=upstream)
    serving(program)
    soft, hard = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


def test_a_limit_that_is_too_low_for_the_settings_is_a_warning(begin: Start, upstream: str) -> None:
    program = begin("serve", "--port", "0", command=limited(300, "-n"), **SERVICE, upstream_url=upstream)
    line = program.err.until("files open").string
    assert '"level":"warning"' in line
    assert "a process may have 300 files open" in line
    assert "GATEWAY_UPSTREAM_MAX_QUEUE a worker may need 1728" in line
    serving(program)


def test_a_limit_that_suffices_is_no_warning(begin: Start, upstream: str) -> None:
    small = {"upstream_max_concurrency": "50", "upstream_max_queue": "100"}
    program = begin("serve", "--port", "0", command=limited(300, "-n"), **SERVICE, upstream_url=upstream, **small)
    serving(program)
    program.kill()
    assert "files open" not in program.err.rest()


def test_a_shortage_is_reported_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    shortage = Shortage("calls fail", clock)
    for seconds in (0, 9, 1.5, 1):
        clock.now += seconds
        shortage.report()
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert lines == [(logging.ERROR, "out of file descriptors: calls fail")] * 2


def test_which_errors_are_a_shortage() -> None:
    assert [is_shortage(OSError(each, "")) for each in (errno.EMFILE, errno.ENFILE, errno.ECONNREFUSED)] == [
        True,
        True,
        False,
    ]
