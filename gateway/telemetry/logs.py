"""The log: one JSON object per line on standard error."""

import json
import logging
import time
from typing import Any

import msgspec

logger = logging.getLogger("gateway")

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
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("gateway", "uvicorn"):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.setLevel(level.upper())
        target.propagate = False
    # What sends the traces says when it cannot.
    traces = logging.getLogger("opentelemetry")
    traces.handlers, traces.propagate = [handler], False
    traces.setLevel(logging.WARNING)


def log_fields(level: int, message: str, fields: dict[str, Any]) -> None:
    """Write a line that many requests cause, without looking up where in the code it comes from."""
    record = logging.LogRecord(logger.name, level, __file__, 0, message, None, None)
    record.fields = fields
    logger.handle(record)
