"""Inspects a large REST body before it is decoded, so that its size bounds the time and the memory that it takes.

A body of 4 MB can hold 1.4 million objects, each a hundred times as large in memory, and a number of 4,000 digits takes
a millisecond to read and write: the time grows with the square of its length. Strings are the only thing that may be
long. The first look counts characters wherever they are. Where they are too many, the strings are left out.
"""

import codecs
from collections.abc import Generator, Iterator

from gateway.errors import UpstreamInvalidResponse

MAX_VALUES = 250_000
"""How many objects, lists and commas a large body may have, outside its strings."""

MAX_DIGITS = 150
"""How many digits a number in a large body may have. No program reads more than 20 of them as an integer."""

_PIECE_BYTES = 64 * 1024
_STRUCTURE = b"{[,"
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
# Of a run of digits, every 16th is looked at: 8 in a row are certain with 143, and very rare without.
_STRIDE = 16
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)
_IN_A_ROW = b"0" * 8


def inspect(content: bytes) -> Generator[None, None, None]:
    """Raise UpstreamInvalidResponse for a body with too many values or digits, or not in UTF-8; yield after pieces."""
    yield from _check_text(content)
    values = 0
    for start in range(0, len(content), _PIECE_BYTES):
        values += _count(content[start : start + _PIECE_BYTES])
        yield
    if values > MAX_VALUES or may_have_long_numbers(content):
        yield from _check_outside_strings(content)


def may_have_long_numbers(content: bytes) -> bool:
    """Return whether ``content`` may have more than 128 digits in a row; it is certain that it has no `MAX_DIGITS`."""
    return _IN_A_ROW in content[::_STRIDE].translate(_DIGITS_AS_ZEROS)


def has_long_number(content: bytes) -> bool:
    """Return whether a number outside the strings of a JSON text has more than `MAX_DIGITS` digits."""
    return may_have_long_numbers(content) and any(
        _LONG_NUMBER in outside.translate(_DIGITS_AS_ZEROS) for outside in _outside_strings(content)
    )


def _check_text(content: bytes) -> Generator[None, None, None]:
    """Raise UpstreamInvalidResponse unless the body is UTF-8. Decoded at once, it could take four times its size."""
    if content.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _PIECE_BYTES):
            decoder.decode(content[start : start + _PIECE_BYTES])
            yield
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise UpstreamInvalidResponse("The REST API's answer is not JSON.") from exc


def _check_outside_strings(content: bytes) -> Generator[None, None, None]:
    values = 0
    for outside in _outside_strings(content):
        values += _count(outside)
        if values > MAX_VALUES:
            raise UpstreamInvalidResponse(f"The REST API's answer has more than {MAX_VALUES} values.")
        if _LONG_NUMBER in outside.translate(_DIGITS_AS_ZEROS):
            raise UpstreamInvalidResponse(f"The REST API's answer has a number of more than {MAX_DIGITS} digits.")
        yield


def _outside_strings(content: bytes) -> Iterator[bytes]:
    """Return what is not in a string, in pieces; a number that is in two pieces is whole in the second."""
    is_string, number = False, b""
    for piece in _pieces(content):
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        outside = b'"'.join(parts[is_string::2])
        is_string ^= len(parts) % 2 == 0
        yield number + outside
        last = outside[-MAX_DIGITS:]
        number = last[len(last.rstrip(b"0123456789")) :]


def _pieces(content: bytes) -> Iterator[bytes]:
    """Return the body in pieces, none of which ends with a backslash: it belongs to the next character."""
    start = 0
    while start < len(content):
        end = start + _PIECE_BYTES
        while content[end - 1 : end] == b"\\":
            rest = content[end : end + _PIECE_BYTES]
            end += len(rest) - len(rest.lstrip(b"\\")) + 1
        yield content[start:end]
        start = end


def _count(text: bytes) -> int:
    return len(text) - len(text.translate(None, _STRUCTURE))
