"""What the gateway tells its operator: the request id and the log."""

import json
import logging
import re
import secrets
import time
from collections import Counter
from typing import Any

logger = logging.getLogger("gateway")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str | None) -> str:
    """Return the caller's request id where it is harmless, else a new one of 16 characters."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_urlsafe(12)


class JsonFormatter(logging.Formatter):
    """One JSON object per log line: time, level, message, and the fields given as ``extra={"fields": {…}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Write the log of the gateway and of its server to standard error, from ``level`` up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("gateway", "uvicorn"):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.setLevel(level.upper())
        target.propagate = False


class Counts(Counter[str]):
    """How often something happened since the start, by name."""
