"""Graceful shutdown: after SIGTERM the gateway reports that it drains, and keeps serving for a while.

    SIGTERM ──▶ /ready is 503, each response closes its connection ──GATEWAY_SHUTDOWN_DELAY──▶ the server's own handler:
                open streams are ended, a few at a time               the listener closes, running requests finish
                                                                      within their deadline, the process ends

A load balancer that has not checked yet keeps sending requests, and closing the listener at once would refuse them.
Ctrl-C (SIGINT) comes from a person at a terminal: it stops without a delay, and ends a running delay.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from gateway.telemetry import logger

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """Whether the gateway is shutting down. ``delay`` is how long it keeps serving after SIGTERM, in seconds.

    ``end_streams`` ends all open streams within some seconds, and returns how many it really takes.
    """

    def __init__(self, delay: float = 0.0, end_streams: Callable[[float], float] = lambda _seconds: 0.0) -> None:
        self.active = False
        self._delay = delay
        self._end_streams = end_streams

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle signals before the handlers of the server that runs the application.

        Python delivers signals to the main thread only, so that in any other thread this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            stop = partial(_call, before[signal.Signals(number)], number, frame)
            loop.call_soon_threadsafe(self._on_signal, number, stop)

        for number in _SIGNALS:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, stop: Callable[[], object]) -> None:
        repeated, self.active = self.active, True
        if number != signal.SIGTERM or not self._delay:
            self._end_streams(0.0)
            stop()
        elif not repeated:  # a supervisor may send the signal twice
            seconds = max(self._delay, self._end_streams(self._delay))
            logger.info("shutting down: serving for %g more seconds", seconds)
            asyncio.get_running_loop().call_later(seconds, stop)


def _call(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
