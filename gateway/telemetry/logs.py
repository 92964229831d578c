"""The log on standard error: one JSON object per line, or lines for a person at a terminal.

The formatter is ours because there is a line per operation. Per line it takes 1.8 us; python-json-logger takes 5.7 us
with orjson and 9.6 us with msgspec, structlog 13.3 us (Python 3.11, a line of an operation, without making the record).
With these encoders they also raise on a string that UTF-8 cannot encode, and the line is lost.

A write takes longer than all the rest. So the lines of requests wait for a hundredth of a second, and are written
together. Any other line is written at once, after those that wait. A record that passes through `logging` would make
the line of an operation cost almost three times as much. So where the log's own handler is the only one, the line of a
request has no record. That of an operation is made when it is written: in a row, each takes 1 us instead of the 4 us
that it takes between two operations.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections import deque
from select import PIPE_BUF
from typing import Any, Protocol, TextIO

from gateway.telemetry.json_lines import (
    LEVEL_NAMES,
    MAX_CUT_BYTES,
    MAX_LINE_BYTES,
    MILLISECOND,
    bounded_line,
    encode_value,
    encoded_line,
    shortened,
    time_text,
)

logger = logging.getLogger("gateway")

_WAIT_SECONDS = 0.01
_MOST_WAITING = 200  # lines: at most 1.6 MB, and some 60 KB of ordinary ones
_MOST_BYTES = 64 * 1024
_END = b"\n"
_COLOURS = {"warning": "33", "error": "31", "critical": "31"}
_DIM = "2"
_WORD = re.compile(r"[\w.:/{}@+-]+", re.ASCII)
_PLACEHOLDER = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]")
_EVERY_LINE_HAS = ("time", "level", "logger", "message")
_NO_FIELDS: dict[str, Any] = {}
_EMPTY: tuple[Any, ...] = (None, (), [], {})


class LaterLine(Protocol):
    """A line that is made when it is written. Until then nothing that it needs may change."""

    def line(self) -> bytes:
        """Return the line as a JSON object, of any length, without a newline."""


class JsonFormatter(logging.Formatter):
    """One JSON object per log line: time, level, message, and the fields given as ``extra={"fields": {…}}``.

    A line has at most `MAX_LINE_BYTES`. What is too long is cut, and the field ``cut`` says how many items or
    characters of which fields are missing.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return bounded_line(self._line(record)).decode()

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": time_text(int(record.created * 1000) * MILLISECOND),
            "level": LEVEL_NAMES.get(record.levelno, record.levelname),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", _NO_FIELDS),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return line


class TextFormatter(JsonFormatter):
    """One line for a person: the time, the level, the message, and each field as ``name=value``.

    It has the bound of the JSON object, and no control characters. ``colour`` shows warnings yellow and errors red, and
    fields dim (ECMA-48, SGR).
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        line = self._line(record)
        text = self._text(line, math.inf)
        if len(text.encode()) > MAX_LINE_BYTES:
            text = self._text(shortened(line, encode_value), MAX_LINE_BYTES)
        return text

    def _text(self, line: dict[str, Any], most: float) -> str:
        line = line.copy()
        at = line.pop("time")[len("2026-11-27T") : -1]
        level, name, message = line.pop("level"), line.pop("logger"), line.pop("message")
        exception = line.pop("exception", "")
        text = _bounded(_printable(message if name == logger.name else f"{name}: {message}"), most / 2)
        words = f"{at} {self._paint(_COLOURS.get(level, ''), f'{level:<7}')} {text}"
        shown = [f"{name}={self._value(value)}" for name, value in line.items() if value or value not in _EMPTY]
        if shown:
            fields = _bounded(_printable(" ".join(shown)), most - len(words.encode()) - MAX_CUT_BYTES)
            words += "  " + self._paint(_DIM, fields)
        return "\n".join([words, *map(_printable, exception.splitlines())]) if exception else words

    def _value(self, value: Any) -> str:
        """Return a value as it is if it is one word, else as JSON."""
        is_word = isinstance(value, str) and _WORD.fullmatch(value)
        return value if is_word else encode_value(value).decode()

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def _bounded(text: str, most: float) -> str:
    """Return a text of at most ``most`` bytes: control characters take more room here than in JSON."""
    if (len(text) if text.isascii() else 4 * len(text)) <= most:
        return text
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[: int(most) - len("…".encode())].decode(errors="ignore") + "…"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class RequestRecord(logging.LogRecord):
    """A line about a request, with its fields.

    `LogRecord.__init__` finds out the source, the process and the thread. That takes 3 us, and no line has them.
    """

    def __init__(self, level: int, message: str, fields: dict[str, Any]) -> None:
        self.__dict__ = _BLANK.copy()
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = message
        self.created = time.time()
        self.fields = fields


_BLANK = dict(vars(logging.LogRecord(logger.name, logging.NOTSET, "", 0, "", None, None)))


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to standard error, those of requests together: at most ``most_bytes``, or one line.

    A process that is killed loses what waits, and one that ends otherwise nothing.
    """

    def __init__(self, formatter: logging.Formatter, most_bytes: int = PIPE_BUF) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._most_bytes = most_bytes
        self._lock = self.lock or threading.RLock()  # that of `logging`, which only other handlers lack
        self._waiting: deque[bytes | LaterLine] = deque()
        self._writes_soon: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line at once; that of a request with those that follow."""
        if not isinstance(record, RequestRecord):
            self._write_waiting()
            super().emit(record)
            return
        try:
            line = self.format(record).encode()
        except Exception:  # noqa: BLE001 - as in `logging.StreamHandler.emit`
            self.handleError(record)
        else:
            self.write_line(line)

    def write_line(self, line: bytes | LaterLine) -> None:
        """Write a line of a request, with those that follow."""
        self._waiting.append(line)
        if len(self._waiting) >= _MOST_WAITING:
            self._write_waiting()
        elif self._writes_soon is None or self._writes_soon.is_closed():
            self._write_soon()

    def _write_soon(self) -> None:
        try:
            self._writes_soon = asyncio.get_running_loop()
        except RuntimeError:  # this thread has none
            self._write_waiting()
        else:
            self._writes_soon.call_later(_WAIT_SECONDS, self._write_in_time)

    def flush(self) -> None:
        """Write the lines that wait. `logging.shutdown` calls it, too."""
        self._write_waiting()
        super().flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Do nothing but try to write the error: a log that cannot be written fails neither a request nor a task."""
        if self.stream.closed:  # the program ends
            return
        with contextlib.suppress(OSError, ValueError):  # it would be written to the same stream, which may be closed
            super().handleError(record)

    def _write_in_time(self) -> None:
        self._writes_soon = None
        self._write_waiting()

    def _write_waiting(self) -> None:
        with self._lock:
            together: list[bytes] = []
            size = 0
            while self._waiting:
                line = self._waiting.popleft()
                encoded = line if isinstance(line, bytes) else self._made(line)
                if encoded is None:
                    continue
                size += len(encoded) + len(_END)
                if size > self._most_bytes:
                    self._write(together)
                    together, size = [], len(encoded) + len(_END)
                together.append(encoded)
            self._write(together)

    def _made(self, later: LaterLine) -> bytes | None:
        """Return the encoded line; None if that fails."""
        try:
            encoded = later.line()
            return encoded if len(encoded) <= MAX_LINE_BYTES else bounded_line(json.loads(encoded))
        except Exception:  # noqa: BLE001 - as in `logging.StreamHandler.emit`
            self.handleError(RequestRecord(logging.ERROR, "the line of a request", {}))
            return None

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        try:
            self.stream.write(_END.join([*lines, b""]).decode())
            self.stream.flush()
        except Exception:  # noqa: BLE001 - as in `logging.StreamHandler.emit`
            self.handleError(RequestRecord(logging.ERROR, "the lines of some requests", {}))


def configure_logging(level: str, kind: str = "json", *, shared: bool = False) -> None:
    """Write the log of the gateway and of its server to standard error, from ``level`` up.

    ``kind`` is ``json``, ``text``, or ``auto``: text where standard error is a terminal, else JSON. With ``shared``,
    several processes write to it: a pipe takes no more than `PIPE_BUF` bytes of each in one piece (POSIX, write).
    """
    formatter = _formatter(kind, sys.stderr)
    handler = LineHandler(formatter, PIPE_BUF if shared else _MOST_BYTES)
    for name in ("gateway", "uvicorn", "asyncio"):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.setLevel(level.upper() if name != "asyncio" else logging.WARNING)
        target.propagate = False
    # The exporter of traces logs when it fails.
    traces = logging.getLogger("opentelemetry")
    details = LineHandler(formatter)
    details.addFilter(_WithoutDetails())
    traces.handlers, traces.propagate = [details], False
    traces.setLevel(logging.WARNING)


def discard_logs() -> None:
    """Write no log at all: for a command whose output says what there is to say."""
    for name in ("gateway", "uvicorn", "asyncio", "opentelemetry"):
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [logging.NullHandler()], False


def _formatter(kind: str, stream: TextIO) -> logging.Formatter:
    is_terminal = stream.isatty()
    if kind == "json" or (kind == "auto" and not is_terminal):
        return JsonFormatter()
    return TextFormatter(colour=is_terminal and "NO_COLOR" not in os.environ)


class _WithoutDetails(logging.Filter):
    """Removes the details of a library's log lines, which may be addresses and header values."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep only the library's own text and the names of exceptions."""
        args = record.args if isinstance(record.args, tuple) else ()
        causes = [type(each).__name__ for each in args if isinstance(each, BaseException)]
        if record.exc_info and record.exc_info[0] is not None:
            causes.append(record.exc_info[0].__name__)
        record.msg, record.args, record.exc_info = _PLACEHOLDER.sub("…", str(record.msg)), (), None
        record.fields = {"causes": causes}
        return True


def log_fields(level: int, message: str, fields: dict[str, Any]) -> None:
    """Write a line of a request, if the log has lines of this level."""
    if not logger.isEnabledFor(level):
        return
    name = LEVEL_NAMES.get(level) or logging.getLevelName(level)
    line = {"time": time_text(time.time_ns()), "level": name, "logger": logger.name, "message": message, **fields}
    encoded = encoded_line(line)
    if encoded is None or not _written(level, encoded):
        logger.handle(RequestRecord(level, message, fields))


def log_line(level: int, later: LaterLine) -> None:
    """Write a line of a request that is made when it is written: soon, or now where that needs a record.

    The caller asks `logger` whether the level is enabled, before there is a line.
    """
    if not _written(level, later):
        fields = json.loads(later.line())
        message = fields["message"]
        for name in _EVERY_LINE_HAS:
            del fields[name]
        logger.handle(RequestRecord(level, message, fields))


def _written(level: int, line: bytes | LaterLine) -> bool:
    """Return whether the log's own handler takes the line without a record: where it is alone, and nothing is filtered.

    All of it is in one function: a call takes longer than what is checked.
    """
    handlers = logger.handlers
    handler = handlers[0] if len(handlers) == 1 else None
    if (
        not isinstance(handler, LineHandler)
        or type(handler.formatter) is not JsonFormatter
        or level < handler.level
        or handler.filters
        or logger.filters
        or logger.propagate
        or logger.disabled
    ):
        return False
    handler.write_line(line)
    return True
