"""File descriptors: raises the limit at the start, says whether it suffices, and reports when none is left.

Each connection of a caller takes one, and each connection to the REST API. Linux allows a process 1,024 until it raises
its own limit, up to a bound that the administrator sets.
"""

import errno
import resource
import time
from collections.abc import Callable

from gateway.telemetry.logs import logger

OWN_DESCRIPTORS = 100
"""What a process needs besides: its log, the event loop, listeners, Redis, traces and its workers."""

_SUFFICIENT = 65_536  # more is not asked for: some systems allow a billion
_QUIET_SECONDS = 10.0
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})


def is_shortage(exc: OSError) -> bool:
    """Return whether the process (EMFILE) or the machine (ENFILE) has no descriptor left."""
    return exc.errno in _NONE_LEFT


class Shortage:
    """Reports in the log that no descriptor is left: at most once in ten seconds. ``consequence`` ends the line."""

    def __init__(self, consequence: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = f"out of file descriptors: {consequence}"
        self._clock = clock
        self._reported_at = -_QUIET_SECONDS

    def report(self) -> None:
        """Write the line, or none if one was written just now."""
        now = self._clock()
        if now - self._reported_at >= _QUIET_SECONDS:
            self._reported_at = now
            logger.error(self._line)


def descriptor_problem(needed: int) -> str | None:
    """Raise this process's limit as far as is allowed and useful; return what is wrong where it is below ``needed``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(needed, _SUFFICIENT)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    return (
        f"a process may have {soft} files open, and with GATEWAY_UPSTREAM_MAX_CONCURRENCY and "
        f"GATEWAY_UPSTREAM_MAX_QUEUE a worker may need {needed}: raise the limit (`ulimit -n`, `LimitNOFILE=`), or "
        "lower the settings"
    )
