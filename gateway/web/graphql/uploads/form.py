"""Reads multipart/form-data (RFC 7578), however it is cut into pieces, with bounds on all but the parts' content.

The parser is python-multipart's; it takes headers of any kind, and this takes only what a form has.
"""

import logging
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.errors import BadUserInput

if TYPE_CHECKING:  # it is defined for type checkers only
    from python_multipart.multipart import MultipartCallbacks

_MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]*)"|([^;"\s]+))', re.IGNORECASE)
_IS_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]").fullmatch  # RFC 2046, section 5.1.1
# Within quotes, a quotation mark has a backslash before it or is %22. A lone backslash is one: browsers send it so.
_PARAMETER = re.compile(
    rb'[ \t]*;[ \t]*([!#$&+.^_`|~0-9A-Za-z*-]+)=(?:"((?:\\["\\]|[^"])*)"(?=[ \t]*(?:;|$))|([^;" \t]+))'
)
_UNENCODED = {b"7bit", b"8bit", b"binary"}
_MALFORMED = "The request's body is not well-formed multipart/form-data (RFC 7578)"

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it warns of what clients get as an error


class PartHead(NamedTuple):
    """The head of a part; ``filename`` is None where it has none."""

    name: str
    filename: str | None


class PartEnd(NamedTuple):
    """The end of a part."""


Event: TypeAlias = PartHead | bytes | PartEnd


class FormParser:
    """Parses one body; ``content_type`` is the request's. Each method raises BadUserInput for what is no form."""

    def __init__(self, content_type: str) -> None:
        self._events: list[Event] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._field = b""
        self._value = b""
        self._is_complete = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._take_field,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
            "on_part_end": lambda: self._events.append(PartEnd()),
            "on_end": self._end,
        }
        self._parser = MultipartParser(
            _boundary(content_type), callbacks, max_header_count=_MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
        )

    def feed(self, data: bytes) -> list[Event]:
        """Return what the next bytes of the body hold."""
        try:
            self._parser.write(data)
        except FormParserError as exc:
            raise BadUserInput(f"{_MALFORMED}, or a header of a part is too large.") from exc
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Check that the last boundary came."""
        if not self._is_complete:
            raise BadUserInput(f"{_MALFORMED}: it ends before its last boundary.")

    def _begin_part(self) -> None:
        self._headers = []

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers.append((self._field.lower(), self._value))
        self._field = self._value = b""

    def _end_headers(self) -> None:
        encodings = [value.strip().lower() for name, value in self._headers if name == b"content-transfer-encoding"]
        if not _UNENCODED.issuperset(encodings):
            raise BadUserInput("A part is sent as it is, without a Content-Transfer-Encoding (RFC 7578, section 4.7).")
        dispositions = [value for name, value in self._headers if name == b"content-disposition"]
        if len(dispositions) != 1:
            raise BadUserInput("Each part has one Content-Disposition with its name.")
        self._events.append(_head(dispositions[0]))

    def _end(self) -> None:
        self._is_complete = True


def _boundary(content_type: str) -> str:
    found = [quoted or token for quoted, token in _BOUNDARY.findall(content_type)]
    if len(found) != 1 or _IS_BOUNDARY(found[0]) is None:
        raise BadUserInput("`Content-Type: multipart/form-data` needs a `boundary` of 1 to 70 characters.")
    return str(found[0])


def _head(disposition: bytes) -> PartHead:
    kind, _, _ = disposition.partition(b";")
    parameters: dict[bytes, bytes] = {}
    position = len(kind)
    while position < len(disposition.rstrip()):
        found = _PARAMETER.match(disposition, position)
        if found is None or found[1].lower() in parameters:
            raise BadUserInput("A Content-Disposition is not well-formed.")
        quoted, token = found[2], found[3]
        parameters[found[1].lower()] = _unquoted(quoted) if quoted is not None else token
        position = found.end()
    if kind.strip().lower() != b"form-data" or b"name" not in parameters:
        raise BadUserInput("Each part has a Content-Disposition of `form-data` with its name.")
    return PartHead(_text(parameters[b"name"]), _filename(parameters))


def _filename(parameters: dict[bytes, bytes]) -> str | None:
    extended = parameters.get(b"filename*")  # RFC 8187: some clients send it, although RFC 7578 advises against it
    if extended is not None:
        charset, _, rest = extended.partition(b"'")
        if charset.lower() != b"utf-8":
            raise BadUserInput("The `filename*` of a part is in UTF-8.")
        return _text(unquote_to_bytes(rest.partition(b"'")[2]))
    name = parameters.get(b"filename")
    return None if name is None else _text(name)


def _unquoted(value: bytes) -> bytes:
    """Return what was quoted, by a backslash or as browsers do it (HTML Standard, multipart form data)."""
    value = re.sub(rb'\\(["\\])', rb"\1", value)
    return value.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise BadUserInput("The names of parts and files are in UTF-8.") from exc
