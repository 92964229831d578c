"""The log: one JSON object per line on standard error.

The formatter is ours because there is a line per operation. Per line it takes 1.8 us; python-json-logger takes 5.7 us
with orjson and 9.6 us with msgspec, structlog 13.3 us (Python 3.11, a line of an operation, without making the record).
With these encoders they also raise on a string that UTF-8 cannot encode, and the line is lost.
"""

import json
import logging
import re
import time
from typing import Any

import msgspec

logger = logging.getLogger("gateway")

_PLACEHOLDER = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]")
_LEVELS = {number: name.lower() for name, number in logging.getLevelNamesMapping().items()}


class JsonFormatter(logging.Formatter):
    """One JSON object per log line: time, level, message, and the fields given as ``extra={"fields": {…}}``."""

    def __init__(self) -> None:
        super().__init__()
        # A field may hold anything: a value without a JSON form is written as its repr.
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": self._time(record.created),
            "level": _LEVELS.get(record.levelno, record.levelname),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", ()))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return self._encode(line).decode()
        except (TypeError, ValueError):  # such as a lone surrogate, which json.dumps escapes
            return json.dumps(line, default=repr)

    def _time(self, created: float) -> str:
        """Return the time by RFC 3339. The second is formatted once, for all lines in it."""
        second = int(created)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03d}Z"


def configure_logging(level: str) -> None:
    """Write the log of the gateway and of its server to standard error, from ``level`` up."""
    handler = _handler()
    for name in ("gateway", "uvicorn"):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.setLevel(level.upper())
        target.propagate = False
    # The exporter of traces logs when it fails.
    traces = logging.getLogger("opentelemetry")
    traces.handlers, traces.propagate = [_handler(_WithoutDetails())], False
    traces.setLevel(logging.WARNING)


def _handler(*filters: logging.Filter) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for each in filters:
        handler.addFilter(each)
    return handler


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
    """Write a line of a request. It has no source location, because looking that up takes longer than the rest."""
    record = logging.LogRecord(logger.name, level, __file__, 0, message, None, None)
    record.fields = fields
    logger.handle(record)
