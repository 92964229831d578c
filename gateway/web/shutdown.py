"""The way out: told to stop, the gateway says so, and serves on until those in front of it have noticed.

    SIGTERM ──▶ /ready is 503, each answer closes its connection ──GATEWAY_SHUTDOWN_DELAY──▶ the server's own handler:
                the listener closes, what is under way ends within its deadline, the process ends

A load balancer that has not looked yet goes on sending; closing the listener at once would refuse those requests.
Ctrl-C (SIGINT) is a person's, who waits for nobody: there is no delay, and it ends one that runs.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gateway.telemetry import logger

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """Whether the gateway is on its way out; ``delay`` is how long it serves on after SIGTERM, in seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self.active = False
        self._delay = delay

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Come before the signal handlers of the server that runs the application, where there are any.

        Python delivers signals to the main thread only: in any other there is nothing to come before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def told(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._told, number, lambda: _call(before[signal.Signals(number)], number, frame))

        for number in _SIGNALS:
            signal.signal(number, told)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, number: int, stop: Callable[[], object]) -> None:
        again, self.active = self.active, True
        if number != signal.SIGTERM or not self._delay:
            stop()
        elif not again:  # a supervisor may say it twice, and means the same
            logger.info("told to stop: serving on for %g seconds", self._delay)
            asyncio.get_running_loop().call_later(self._delay, stop)


def _call(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
