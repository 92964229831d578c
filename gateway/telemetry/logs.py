"""The log: one JSON object per line on standard error."""

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
        # A field may hold anything: what JSON has no form for is written as Python shows it, rather than lost.
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
        except (TypeError, ValueError):  # such as half a character: a line that looks odd is better than none
            return json.dumps(line, default=repr)

    def _time(self, created: float) -> str:
        """Return the time as RFC 3339 has it; most lines are of the same second as the one before."""
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
    # What sends the traces says when it cannot.
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
    """Lets a library say what happened, and not to what: its details are addresses, and headers that cannot be sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take everything out of the record but the text that is the library's own, and the names of exceptions."""
        args = record.args if isinstance(record.args, tuple) else ()
        causes = [type(each).__name__ for each in args if isinstance(each, BaseException)]
        if record.exc_info and record.exc_info[0] is not None:
            causes.append(record.exc_info[0].__name__)
        record.msg, record.args, record.exc_info = _PLACEHOLDER.sub("…", str(record.msg)), (), None
        record.fields = {"causes": causes}
        return True


def log_fields(level: int, message: str, fields: dict[str, Any]) -> None:
    """Write a line that many requests cause, without looking up where in the code it comes from."""
    record = logging.LogRecord(logger.name, level, __file__, 0, message, None, None)
    record.fields = fields
    logger.handle(record)
