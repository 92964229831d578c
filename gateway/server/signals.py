"""How the process reacts to the signals that stop it."""

import signal
import sys
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The signals by which a terminal and a service manager stop a process."""


def exit_with_0_on_stop_signals() -> None:
    """Exit with status 0 on these signals: uvicorn shuts down first, and then raises the signal again."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        ignore_stop_signals()
        sys.exit(0)

    for number in STOP_SIGNALS:
        signal.signal(number, leave)


def ignore_stop_signals() -> None:
    """Ignore these signals while the interpreter ends.

    A second signal may arrive when Python's handlers are gone, and would kill the process: `uv run` passes on signals
    that the terminal has sent to the whole process group.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
