"""The id of a request: what an error, a log line and a trace have in common."""

import re
import secrets

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str | None) -> str:
    """Return the caller's request id where it is harmless, else a new one of 16 characters."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_urlsafe(12)
