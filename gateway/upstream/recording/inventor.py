"""Replaces what a REST body holds by invented values of the same kind, each always by the same.

A text keeps its shape, so that an address still looks like one: letters become letters, digits become digits, and a
single mark between them stays. A long text becomes a little longer, because its exact length may betray it. The values
depend on a secret that is never written, so that nobody can try names until one fits.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gateway.upstream.contract import ENUMERATIONS, TYPES, Field
from gateway.upstream.contract.model import Format, Recorded

MAX_KEPT_CHARACTERS = 5
"""A value of an enumeration that is no longer is kept: `Open`, but no text that somebody wrote."""

_EXACT_CHARACTERS = 64
"""A text that is longer is recorded with a multiple of so many characters."""

_MAX_CHARACTERS = 1_000_000
_MIN_DISTANCE = 3
"""Marks that stay have so many other characters between them. Six in a row are never as they were."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MARKS = frozenset("@.-_ /:")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FORMATS = {Format.DATE_TIME: (_TIME, "%Y-%m-%dT%H:%M:%SZ"), Format.DATE: (_DATE, "%Y-%m-%d")}


class Inventor:
    """Invents values. The same ``secret`` gives the same ones."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        days = int.from_bytes(self._digest(b"days", 2)) % 3000
        self._shift = timedelta(days=days + 400)

    def text(self, text: str) -> str:
        """Return an invented text of the same shape."""
        for attempt in range(256):
            invented = self._text(text[:_MAX_CHARACTERS], attempt)
            if not text or invented != text:
                return invented
        raise AssertionError("256 digests in a row gave the same text")

    def number(self, number: int) -> int:
        """Return an invented integer with as many digits."""
        digits = len(str(abs(number)))
        first = 10 ** (digits - 1) if digits > 1 else 0
        invented: int = first + int.from_bytes(self._digest(b"%d" % number, 16)) % (10**digits - first)
        return invented if number >= 0 else -invented

    def time(self, text: str, form: Format) -> str:
        """Return a time that is earlier by as much as all others; any other text is invented."""
        shape, pattern = _FORMATS[form]
        if shape.fullmatch(text) is None:
            return self.text(text)
        try:
            return (datetime.strptime(text, pattern) - self._shift).strftime(pattern).zfill(len(text))  # noqa: DTZ007 - written back as it came
        except (ValueError, OverflowError):
            return self.text(text)

    def body(self, value: Any, kind: str) -> Any:
        """Return the form of a JSON value of a kind of the contract that can be recorded."""
        if isinstance(value, dict):
            return self._object(value, kind) if kind in TYPES or kind in {"object", "any"} else {}
        if isinstance(value, list):
            return [self.body(each, kind.strip("[]")) for each in value] if kind[0] == "[" or kind == "any" else []
        return self._scalar(value, Field("", kind))

    def _object(self, value: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """Return an object. Of a field that the contract does not have, only the type is recorded."""
        known = {field.name: field for field in TYPES[kind].fields} if kind in TYPES else {}
        recorded: dict[str, Any] = {}
        for name, each in value.items():
            field = known.get(name)
            if field is None:
                recorded[self.text(name)] = self.body(each, "any") if kind in {"object", "any"} else _type_of(each)
            elif isinstance(each, dict | list):
                recorded[name] = self.body(each, field.kind)
            else:
                recorded[name] = self._scalar(each, field)
        return recorded

    def _scalar(self, value: Any, field: Field) -> Any:
        if isinstance(value, str):
            return self._string(value, field)
        if isinstance(value, bool) or value is None:
            return value
        if field.recorded is Recorded.KEPT and (isinstance(value, int) or math.isfinite(value)):
            return value
        return self.number(value) if isinstance(value, int) else 0.5

    def _string(self, value: str, field: Field) -> str:
        if field.of in ENUMERATIONS and len(value) <= MAX_KEPT_CHARACTERS and value.isprintable():
            return value
        if field.format is Format.BASE64:
            return ""
        if field.format in _FORMATS:
            return self.time(value, field.format)
        return self.text(value)

    def _text(self, text: str, attempt: int) -> str:
        length = len(text)
        if length > _EXACT_CHARACTERS:
            length += -length % _EXACT_CHARACTERS
            text = text.ljust(length, "x")
        stream = self._digest(b"%d" % attempt + text.encode("utf-8", "surrogatepass"), length)
        invented: list[str] = []
        last_mark = -_MIN_DISTANCE - 1
        for at, (character, random) in enumerate(zip(text, stream, strict=True)):
            if character in _MARKS and 0 < at < length - 1 and at - last_mark > _MIN_DISTANCE:
                invented.append(character)
                last_mark = at
            elif character.isascii() and character.isdigit():
                invented.append(str(random % 10))
            else:
                letter = _LETTERS[random % len(_LETTERS)]
                invented.append(letter.upper() if character.isupper() else letter)
        return "".join(invented)

    def _digest(self, content: bytes, length: int) -> bytes:
        seed = hmac.digest(self._secret, content, "sha256")
        return hashlib.shake_256(seed).digest(length)


def _type_of(value: Any) -> Any:
    """Return the empty value of the same JSON type."""
    return None if value is None else type(value)()
