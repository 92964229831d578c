"""What the tests of log lines write, and where they find what was written."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from gateway.telemetry import encode_value, log_fields, log_line, logger, time_member
from gateway.telemetry.logs import LineHandler


class Writes(io.StringIO):
    """A stream that keeps what each flush has written. A broken one refuses every write."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[str] = []
        self.is_broken = False

    def write(self, text: str) -> int:
        if self.is_broken:
            raise BrokenPipeError
        return super().write(text)

    def flush(self) -> None:
        if self.tell():
            self.flushed.append(self.getvalue())
            self.seek(0)
            self.truncate()

    async def until_it_has(self, number: int) -> None:
        """Run the event loop until so many lines are written."""
        while len(self.lines) < number:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in "".join(self.flushed).split("\n")[:-1]]


class Later:
    """A line that is made when it is written."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def line(self) -> bytes:
        begin = {"level": "info", "logger": logger.name, "message": "operation"}
        return time_member(time.time_ns()) + encode_value({**begin, **self._fields})[1:]


class Failing(Later):
    """A line that cannot be made."""

    def line(self) -> bytes:
        raise ZeroDivisionError


class Shown:
    """A value without a JSON form, whose text is what ``show`` returns."""

    def __init__(self, show: Callable[[], str]) -> None:
        self._show = show

    def __repr__(self) -> str:
        return self._show()


class Records(logging.Handler):
    """A handler of whoever embeds the application. It keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Emitting(LineHandler):
    """The log's handler. It counts its records."""

    emitted = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.emitted += 1
        super().emit(record)


def log(number: int, **fields: Any) -> None:
    write({"number": number, **fields})


def write(fields: dict[str, Any] | Later, level: int = logging.INFO) -> None:
    """Log a line of a request. Where the handler is the only one, it has no record."""
    # Not sooner: pytest adds a handler of its own to a logger that does not propagate when a test begins.
    logger.propagate = False
    if isinstance(fields, Later):
        log_line(level, fields)
    else:
        log_fields(level, "operation", fields)


def without_time(line: str) -> str:
    return line[line.index(',"level":') :]
