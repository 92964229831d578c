"""What the tests of log lines write, and where they find what was written."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.telemetry import log_fields, log_line, logger, time_text
from gateway.telemetry.json_lines import Line
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


class Struct(Line, omit_defaults=True, rename="camel"):
    """A line as a struct."""

    request_id: str
    calls: Any
    reason: str | None = None


def struct(calls: Any, reason: str | None = None) -> Struct:
    return Struct(time_text(time.time_ns()), "info", logger.name, "operation", "mine", calls, reason)


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


@dataclass(frozen=True)
class Made:
    """A line that is there already."""

    made: Line

    def line(self) -> Line:
        return self.made


class Emitting(LineHandler):
    """The log's handler. It counts its records."""

    emitted = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.emitted += 1
        super().emit(record)


def log(number: int, **fields: Any) -> None:
    write({"number": number, **fields})


def write(fields: dict[str, Any] | Line, level: int = logging.INFO) -> None:
    """Log a line of a request. Where the handler is the only one, it has no record."""
    # Not sooner: pytest adds a handler of its own to a logger that does not propagate when a test begins.
    logger.propagate = False
    if isinstance(fields, Line):
        log_line(level, Made(fields))
    else:
        log_fields(level, "operation", fields)


def without_time(line: str) -> str:
    return line[line.index(',"level":') :]
