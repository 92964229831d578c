"""Turns the REST API's refusal of a write into the errors of its input. Apart from the writer, which only sends."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.http1 import Response
from gateway.upstream.response import error_entries
from gateway.upstream.writes.outcome import Answer, InputError, Outcome

_MESSAGES: Mapping[int, tuple[str, str]] = {
    400: ("BAD_REQUEST", "The REST API refused the input."),
    404: ("NOT_FOUND", "What the input names does not exist."),
    409: ("CONFLICT", "The input conflicts with what the REST API has."),
    413: ("TOO_LARGE", "The input is too large for the REST API."),
    422: ("INVALID", "The REST API refused the input."),
}
"""By status: the code where the REST API names none, and the message. These say that nothing was changed."""

_NAMES = re.compile(r"\$\.([a-z_]+)|[`'\"]([a-z_]+)[`'\"]|\b([a-z]+(?:_[a-z]+)+)\b")
"""A field in an error's text: a JSON path, a quoted word, or a word with underscores."""


def refusal(response: Response, names: Mapping[str, str]) -> Answer | None:
    """Return the answer for a response that refuses the input, None for any other.

    ``names`` are the fields of the input by their REST names. A refusal has the REST API's codes, not its texts.
    """
    if response.status not in _MESSAGES:
        return None
    code, message = _MESSAGES[response.status]
    found = dict(_by_code(response.body, names))
    errors = [InputError(field, known, message) for known, field in (found or {code: ()}).items()]
    return Answer(Outcome.NOT_APPLIED, tuple(errors))


def _by_code(body: bytes, names: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for code, entry in error_entries(body):
        yield code, _field(code, entry, names)


def _field(code: str, entry: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the path of the only field that an error names, in its code or in its text; empty where that is none."""
    text = entry.get("message")
    words = {*re.split(r"[.:]", code)}
    for groups in _NAMES.findall(text[:1000] if isinstance(text, str) else ""):
        words.update(each for each in groups if each)
    named = [names[word] for word in words if word in names]
    return (named[0],) if len(named) == 1 else ()
