"""The page of error codes, from the classes in gateway/errors.py."""

import inspect
import re
from collections.abc import Iterator

from gateway import errors
from gateway.settings import PREFIX, catalogue
from tests.reference.table import code, table

_INTRODUCTION = """
# Errors

Every error of a response has `extensions.code` and `extensions.requestId`. Where it is known, it also has
`retryAfter`, in seconds, and `upstream`, with the HTTP status and the error codes of the REST API. No message contains
text, an address or a body of the REST API. An error stands at the nearest nullable field, and the rest of the response
stands. [Statuses](../http.md#which-status-does-a-response-have) explains which HTTP status a response has.

The column HTTP has the status if the error refuses a whole request. The column retry says whether the same request may
succeed later.
"""
_STATUSES = re.compile(r" ?\(HTTP (\d{3}(?:(?:, | or )\d{3})*)\)")


def errors_page() -> str:
    """Return the page."""
    return f"{_INTRODUCTION}\n{table(('code', 'HTTP', 'retry', 'setting', 'meaning'), _rows())}"


def error_classes() -> dict[str, type[errors.GatewayError]]:
    """Return the class that introduces each code, by code."""
    found: dict[str, type[errors.GatewayError]] = {}
    for each in vars(errors).values():
        is_ours = isinstance(each, type) and issubclass(each, errors.GatewayError) and each is not errors.GatewayError
        if is_ours and "code" in vars(each):
            found.setdefault(each.code, each)
    return found


def _rows() -> Iterator[tuple[str, ...]]:
    for name, error in error_classes().items():
        meaning = " ".join((inspect.getdoc(error) or "").partition("\n\n")[0].split())
        statuses = _STATUSES.search(meaning)
        yield (
            code(name),
            statuses[1] if statuses else "",
            "yes" if error.retryable else "",
            code(*_setting(name)),
            _STATUSES.sub("", meaning),
        )


def _setting(name: str) -> list[str]:
    """Return the setting of a limit: ``GATEWAY_MAX_DEPTH`` for ``MAX_DEPTH_LIMIT``."""
    if not name.startswith("MAX_"):
        return []
    stem = name.removesuffix("_LIMIT").lower()
    return [PREFIX + each.upper() for each in catalogue() if each in {stem, f"{stem}_size"}]
