"""A log line as JSON: what it begins with, its form for any value, and its bound."""

import json
import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec

MAX_LINE_BYTES: Final = 8 * 1024
"""The longest line. Log collectors cut or drop longer ones, and half a JSON object is none."""

LEVEL_NAMES: Final = {number: name.lower() for name, number in logging.getLevelNamesMapping().items()}
"""The levels as they stand in a line."""

MAX_CUT_BYTES: Final = 512
"""The most bytes of the field that says what was cut."""

MILLISECOND: Final = 1_000_000
"""In nanoseconds."""

_MAX_FIELDS = 50
_ENCODER = msgspec.json.Encoder(enc_hook=repr)  # a field may hold anything: what has no JSON form is its repr
_NO_JSON = (TypeError, ValueError, OverflowError)  # such as of a lone surrogate, or an integer of 100 bits
_SECOND = 1_000_000_000  # in nanoseconds
_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]
_known_second = (-(2**63), "")  # before any time, so that it has no text yet
_known_millisecond = (-(2**63), b"")


def time_text(nanoseconds: int) -> str:
    """Return a time since 1970 by RFC 3339, with milliseconds."""
    global _known_second  # noqa: PLW0603 - the lines of a second share its text
    begin, text = _known_second
    since = nanoseconds - begin
    if not 0 <= since < _SECOND:
        since = nanoseconds % _SECOND
        begin = nanoseconds - since
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin // _SECOND))
        _known_second = (begin, text)
    return text + _MILLISECONDS[since // MILLISECOND]


def time_member(nanoseconds: int) -> bytes:
    """Return the beginning of a line as JSON: its time."""
    global _known_millisecond  # noqa: PLW0603 - the lines of a millisecond share it
    begin, member = _known_millisecond
    if not 0 <= nanoseconds - begin < MILLISECOND:
        member = b'{"time":' + encode_value(time_text(nanoseconds)) + b","
        _known_millisecond = (nanoseconds - nanoseconds % MILLISECOND, member)
    return member


def bounded_line(line: dict[str, Any]) -> bytes:
    """Return a line as JSON, cut if it is too long."""
    encode = _ENCODER.encode
    try:
        encoded = encode(line)
    except _NO_JSON:
        # Also for its parts: this may write a value in another form, with another length.
        encode = _encode_anything
        encoded = encode(line)
    return encoded if len(encoded) <= MAX_LINE_BYTES else encode(shortened(line, encode))


def _encode_anything(value: Any) -> bytes:
    text = json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=repr) if isinstance(value, msgspec.Struct) else repr(value)


def shortened(line: dict[str, Any], encode: Callable[[Any], bytes]) -> dict[str, Any]:
    """Return a line that fits: the longest field is cut until all of them do."""
    cut = {"fields": len(line) - _MAX_FIELDS} if len(line) > _MAX_FIELDS else {}
    line = dict(islice(line.items(), _MAX_FIELDS))
    sizes = {name: len(encode(value)) for name, value in line.items()}
    names = sum(len(encode(name)) + len(":,") for name in line)
    while (excess := names + sum(sizes.values()) + MAX_CUT_BYTES - MAX_LINE_BYTES) > 0:
        name = max(sizes, key=lambda each: sizes[each])
        value = line[name] if isinstance(line[name], (str, list, tuple)) else repr(line[name])
        kept = max(0, min(len(value) - 1, len(value) * (sizes[name] - excess) // sizes[name]))
        cut[name] = cut.get(name, 0) + len(value) - kept
        # The end of a traceback says what happened; of everything else the beginning is kept.
        line[name] = value[len(value) - kept :] if name == "exception" else value[:kept]
        sizes[name] = len(encode(line[name]))
    return {**line, "cut": cut}


def encode_value(value: Any) -> bytes:
    """Return any value as JSON: what has no JSON form as its repr, what UTF-8 cannot encode with backslashes."""
    try:
        return _ENCODER.encode(value)
    except _NO_JSON:
        return _encode_anything(value)


def encoded_line(line: dict[str, Any]) -> bytes | None:
    """Return the encoded line; None where it is too long, or the formatter has to find another way."""
    try:
        encoded = _ENCODER.encode(line)
    except Exception:  # noqa: BLE001 - whatever it is, the formatter reports it
        return None
    return encoded if len(encoded) <= MAX_LINE_BYTES else None
