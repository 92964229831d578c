"""Serves as `gateway serve` does, switches the log on and off ten times a second, and writes what it counted to a file.

Two processes of the same program differ by more than the log takes, and so does one process from second to second.
"""

import asyncio
import json
import logging
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from gateway.app import create_app, prepare_memory
from gateway.compat.uvicorn import ConnectionServer
from gateway.server.accepting import ListeningSource
from gateway.server.config import serving_config
from gateway.server.listeners import bind
from gateway.server.signals import exit_with_0_on_stop_signals
from gateway.settings import load_settings
from gateway.telemetry import configure_logging, logger

_SLICE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Slice:
    """What took place while the log was on, or off."""

    is_on: bool
    requests: int
    seconds: float
    processor_seconds: float


class Switching:
    """Switches the log, and keeps a slice for each time between."""

    def __init__(self) -> None:
        self.server: ConnectionServer | None = None
        self.slices: list[Slice] = []
        self._has_begun = False
        self._began = self._now()

    async def begin(self) -> None:
        """Begin the first slice."""
        if not self._has_begun:
            self._has_begun = True
            self._turn()

    def _turn(self) -> None:
        for handler in logger.handlers:
            handler.flush()  # each line belongs to the slice of its operation
        is_on, began, now = logger.isEnabledFor(logging.INFO), self._began, self._now()
        self.slices.append(Slice(is_on, now[0] - began[0], now[1] - began[1], now[2] - began[2]))
        logger.setLevel(logging.WARNING if is_on else logging.INFO)
        self._began = self._now()
        asyncio.get_running_loop().call_later(_SLICE_SECONDS, self._turn)

    def _now(self) -> tuple[int, float, float]:
        requests = 0 if self.server is None else self.server.server_state.total_requests
        return requests, time.perf_counter(), time.process_time()


def main(port: int, results: Path) -> None:
    """Serve until a signal comes. The settings are those of the environment."""
    exit_with_0_on_stop_signals()
    settings = load_settings()
    configure_logging("info", "json")
    app = create_app(settings)
    prepare_memory()
    switching = Switching()
    config = serving_config(app, settings.server, settings.shutdown_timeout)
    config.callback_notify, config.timeout_notify = switching.begin, 0  # uvicorn calls it when it has started
    with bind("127.0.0.1", port) as listener:
        switching.server = ConnectionServer(config, ListeningSource(listener))
        try:
            switching.server.run()
        finally:
            results.write_text(json.dumps([astuple(each) for each in switching.slices]))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
